import { describe, expect, test } from '@jest/globals';
import type { KubeObject } from './objects.ts';
import { OwnWrites } from './own-writes.ts';
import { isAtLeast } from './resource-version.ts';
import { type Change, Store } from './store.ts';

function object(name: string, resourceVersion: string, owner?: string): KubeObject {
  const labels = owner === undefined ? {} : { owner };
  return { metadata: { name, namespace: 'n', uid: name, resourceVersion, labels } };
}

const byOwner = ({ metadata }: KubeObject) => metadata.labels?.['owner'];

test('resourceVersions are compared as numbers of any length', () => {
  expect(isAtLeast('10', '9')).toBe(true);
  expect(isAtLeast('9', '10')).toBe(false);
  expect(isAtLeast('10', '10')).toBe(true);
  expect(isAtLeast('99999999999999999999', '100000000000000000000')).toBe(false);
});

describe('a store', () => {
  test('finds objects by key and by index, and forgets what moved or went', () => {
    const store = new Store<KubeObject>(byOwner);
    store.replace([object('a', '1', 'x'), object('b', '2', 'x'), object('c', '3')], '3');
    const names = (owner: string) => store.indexed(owner).map(({ metadata }) => metadata.name);
    expect(store.get('n/a')?.metadata.uid).toBe('a');
    expect(names('x')).toEqual(['a', 'b']);
    store.put(object('b', '4', 'y'));
    store.remove(object('a', '5', 'x'));
    expect(names('x')).toEqual([]);
    expect(names('y')).toEqual(['b']);
    expect(store.get('n/a')).toBeUndefined();
    store.replace([object('d', '9', 'x')], '9');
    expect([...store.keys()]).toEqual(['n/d']);
    expect(names('y')).toEqual([]);
  });

  test('tells each change once, those that only a new list shows as well', () => {
    const store = new Store<KubeObject>();
    const changes: string[] = [];
    store.onChange(({ before, after }: Change<KubeObject>) => {
      changes.push(`${before?.metadata.resourceVersion ?? '-'}>${after?.metadata.resourceVersion ?? '-'}`);
    });
    store.replace([object('a', '1'), object('b', '2')], '2');
    store.put(object('a', '3'));
    store.remove(object('b', '4'));
    store.remove(object('b', '4'));
    store.replace([object('a', '3'), object('c', '5')], '6');
    store.replace([object('c', '7')], '8');
    expect(changes).toEqual(['->1', '->2', '1>3', '2>-', '->5', '5>7', '3>-']);
  });

  test('is synced with its first list, and knows how far it has seen', () => {
    const store = new Store<KubeObject>();
    expect([store.synced, store.hasSeen('1')]).toEqual([false, false]);
    store.replace([], '9');
    expect([store.synced, store.hasSeen('9'), store.hasSeen('10')]).toEqual([true, true, false]);
    store.advance('10');
    expect(store.hasSeen('10')).toBe(true);
  });
});

test('own writes are seen once every cache has seen them', () => {
  const [services, deployments] = [new Store<KubeObject>(), new Store<KubeObject>()];
  services.replace([], '5');
  deployments.replace([], '5');
  const writes = new OwnWrites();
  expect(writes.areSeen).toBe(true);
  writes.wroteAt(services, '7');
  writes.wroteAt(deployments, '8');
  services.advance('8');
  expect(writes.areSeen).toBe(false);
  deployments.advance('8');
  expect(writes.areSeen).toBe(true);
});

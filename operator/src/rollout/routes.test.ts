import { describe, expect, test } from '@jest/globals';
import {
  type BackendReference,
  changeOfRoute,
  givesShare,
  isBehind,
  type LiveRoute,
  mayHaveShare,
  problemOfRoute,
} from './routes.ts';

const reference = { kind: 'HTTPRoute', name: 'iris' } as const;
const routeOf = (...rules: readonly (readonly BackendReference[])[]): LiveRoute => ({
  metadata: { name: 'iris', resourceVersion: '7', generation: 2 },
  spec: { rules: rules.map((backendRefs) => ({ backendRefs })) },
  status: { parents: [{ conditions: [{ type: 'Accepted', status: 'True', observedGeneration: 2 }] }] },
});
const backend = (name: string, rest: object = {}) => ({ name, port: 80, ...rest });
const found = (route: LiveRoute) => ({ kind: 'found', reference, route, isBehind: isBehind(route) }) as const;
const problem = (route: LiveRoute, weight: number) => problemOfRoute(found(route), 'iris', { weight });

describe('the weights of a route', () => {
  test('a canary is a second backend, with what the first has, and gets nothing until a Gateway has taken that', () => {
    const weighted = (weight: number) => [
      backend('iris', { filters: ['x'], weight: 100 - weight }),
      backend('iris-canary', { filters: ['x'], weight }),
    ];
    const changes = (backendRefs: readonly BackendReference[]) => ({
      kind: 'changes',
      changes: [{ rule: 0, backendRefs }],
    });
    const route = routeOf([backend('iris', { filters: ['x'] })], [backend('other')]);
    expect(changeOfRoute(found(route), 'iris', 5)).toEqual(changes(weighted(0)));
    const shown = routeOf(weighted(0), [backend('other')]);
    const behind = { ...shown, metadata: { ...shown.metadata, generation: 3 } };
    expect(changeOfRoute(found(behind), 'iris', 5)).toEqual({ kind: 'changes', changes: [] });
    expect(problem(behind, 5)).toBe('HTTPRoute iris has other weights yet');
    expect(changeOfRoute(found(shown), 'iris', 5)).toEqual(changes(weighted(5)));
    const unresolved = { type: 'ResolvedRefs', status: 'False', observedGeneration: 2, message: 'no such Service' };
    const refused = {
      ...shown,
      status: { parents: [{ conditions: [...(shown.status?.parents?.[0]?.conditions ?? []), unresolved] }] },
    };
    expect(changeOfRoute(found(refused), 'iris', 5)).toEqual({ kind: 'changes', changes: [] });
    expect(changeOfRoute(found({ ...shown, status: {} }), 'iris', 5)).toEqual({ kind: 'changes', changes: [] });
    // One that had taken it before, and is waited for no more.
    expect(changeOfRoute({ ...found(behind), isBehind: false }, 'iris', 5)).toEqual(changes(weighted(5)));
    // Known by the Gateway already: more, and less, at once.
    const given = routeOf(weighted(5), [backend('other')]);
    const ahead = { ...given, metadata: { ...given.metadata, generation: 3 } };
    expect(changeOfRoute(found(ahead), 'iris', 50)).toEqual(changes(weighted(50)));
  });

  test('nothing is changed that has its weight', () => {
    const route = routeOf([backend('iris', { weight: 95 }), backend('iris-canary', { weight: 5 })]);
    expect(changeOfRoute(found(route), 'iris', 5)).toEqual({ kind: 'changes', changes: [] });
    expect(problem(route, 5)).toBeUndefined();
    expect(problem(route, 25)).toBe('HTTPRoute iris has other weights yet');
  });

  test('a route that is let go of gives nothing first, and has one backend once its Gateway has taken that', () => {
    const idle = [backend('iris', { weight: 100 }), backend('iris-canary', { weight: 0 })];
    for (const weight of [5, 100]) {
      const share = [backend('iris', { weight: 100 - weight }), backend('iris-canary', { weight })];
      expect(changeOfRoute(found(routeOf(share, [backend('iris')])), 'iris', undefined)).toEqual({
        kind: 'changes',
        changes: [{ rule: 0, backendRefs: idle }],
      });
    }
    const route = routeOf(idle, [backend('iris')]);
    const behind = { ...route, metadata: { ...route.metadata, generation: 3 } };
    expect(changeOfRoute(found(behind), 'iris', undefined)).toEqual({ kind: 'changes', changes: [] });
    expect(mayHaveShare(found(behind), 'iris')).toBe(true);
    expect(changeOfRoute(found(route), 'iris', undefined)).toEqual({
      kind: 'changes',
      changes: [{ rule: 0, backendRefs: [backend('iris', { weight: 1 })] }],
    });
  });

  test("somebody's own rule for the canary alone is left as it is", () => {
    const route = routeOf([backend('iris-canary')], [backend('iris')]);
    expect(changeOfRoute(found(route), 'iris', undefined)).toEqual({ kind: 'changes', changes: [] });
    const change = changeOfRoute(found(route), 'iris', 10);
    expect(change.kind === 'changes' && change.changes.map(({ rule }) => rule)).toEqual([1]);
  });

  test('what no weight can be given to is a problem', () => {
    expect(problem(routeOf([backend('other')]), 5)).toBe(
      'HTTPRoute iris: none of its rules has the Service iris as a backend: add one',
    );
    expect(problem(routeOf([backend('iris'), backend('other')]), 5)).toBe(
      'HTTPRoute iris: rule 0 has other backends beside iris: give the model a rule of its own',
    );
    expect(problem(routeOf([backend('iris', { kind: 'ServiceImport', group: 'x' })]), 5)).toContain(
      'none of its rules',
    );
  });

  test("somebody's own rule for the canary alone gives no share", () => {
    expect(givesShare(found(routeOf([backend('iris-canary')], [backend('iris')])), 'iris')).toBe(false);
    const shared = routeOf([backend('iris', { weight: 80 }), backend('iris-canary', { weight: 20 })]);
    expect(givesShare(found(shared), 'iris')).toBe(true);
  });

  test('somebody answers, whatever the weights were', () => {
    const twice = routeOf([
      backend('iris', { weight: 0 }),
      backend('iris-canary', { weight: 100 }),
      backend('iris', { weight: 0 }),
    ]);
    expect(changeOfRoute(found(twice), 'iris', undefined)).toMatchObject({
      changes: [{ backendRefs: [{ weight: 100 }, { weight: 100 }, { name: 'iris-canary', weight: 0 }] }],
    });
  });

  test('a backend of another namespace is none of the model', () => {
    const route = { ...routeOf([backend('iris', { namespace: 'b' }), backend('iris', { namespace: 'n' })]) };
    const own = { ...route, metadata: { ...route.metadata, namespace: 'n' } };
    expect(changeOfRoute(found(own), 'iris', 5)).toMatchObject({
      kind: 'problem',
      why: expect.stringContaining('other backends'),
    });
    expect(problem(routeOf([backend('iris', { namespace: 'b' })]), 5)).toContain('none of its rules');
  });

  test('a share counts once a Gateway has taken it', () => {
    const route = routeOf([backend('iris', { weight: 95 }), backend('iris-canary', { weight: 5 })]);
    const told = (conditions: object[]) => problem({ ...route, status: { parents: [{ conditions }] } } as LiveRoute, 5);
    expect(problem({ ...route, status: {} }, 5)).toBe('no Gateway has taken HTTPRoute iris yet');
    expect(told([{ type: 'Accepted', status: 'True', observedGeneration: 1 }])).toContain('no Gateway has taken');
    const accepted = { type: 'Accepted', status: 'True', observedGeneration: 2 };
    const unresolved = { type: 'ResolvedRefs', status: 'False', observedGeneration: 2, message: 'no such Service' };
    expect(told([accepted, unresolved])).toBe('no Gateway has taken HTTPRoute iris yet: no such Service');
  });

  test('a route is let go of once its Gateway has taken that', () => {
    const alone = routeOf([backend('iris', { weight: 1 })]);
    expect(mayHaveShare(found(alone), 'iris')).toBe(false);
    expect(mayHaveShare(found({ ...alone, status: {} }), 'iris')).toBe(false);
    const later = { ...alone, metadata: { ...alone.metadata, generation: 3 } };
    expect(mayHaveShare(found(later), 'iris')).toBe(true);
    expect(mayHaveShare(found(routeOf([backend('iris'), backend('iris-canary')])), 'iris')).toBe(true);
    expect(mayHaveShare({ kind: 'unreadable', reference, why: 'forbidden' }, 'iris')).toBe(true);
    expect(mayHaveShare({ kind: 'gone', reference }, 'iris')).toBe(false);
  });

  test('a route that is not there, or cannot be read, is said to be so', () => {
    expect(problemOfRoute({ kind: 'gone', reference }, 'iris', { weight: 5 })).toContain('there is no HTTPRoute iris');
    expect(problemOfRoute({ kind: 'unreadable', reference, why: 'forbidden' }, 'iris', { weight: 5 })).toBe(
      'HTTPRoute iris cannot be read: forbidden',
    );
  });
});

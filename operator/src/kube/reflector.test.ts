import { describe, expect, test } from '@jest/globals';
import type { CallOptions, KubeClient } from './client.ts';
import { ApiError } from './errors.ts';
import type { KubeObject } from './objects.ts';
import { reflect } from './reflector.ts';
import { Store } from './store.ts';

const object = (name: string, resourceVersion: string) => ({
  metadata: { name, namespace: 'n', uid: name, resourceVersion },
});
const event = (type: string, name: string, resourceVersion: string) => ({
  type,
  object: object(name, resourceVersion),
});

interface Script {
  /** One for each request for a list; pages of one list follow each other. */
  readonly lists: readonly (object | Error)[];
  /** One for each watch: its lines, and an error that ends it. */
  readonly watches: readonly (readonly (object | Error)[])[];
}

/** Plays the lists and watches of a script, then ends the reflector. */
async function play({ lists, watches }: Script) {
  const requests: string[] = [];
  const errors: string[] = [];
  const stop = new AbortController();
  const store = new Store<KubeObject>();
  const next = { list: 0, watch: 0 };
  const client: KubeClient = {
    async call<T>(_method: string, _path: string, options?: CallOptions) {
      requests.push(`list ${options?.query?.['continue'] ?? ''}`.trim());
      const answer = lists[next.list++];
      if (answer instanceof Error) throw answer;
      return answer as T;
    },
    async *watch(_path, query) {
      const lines = watches[next.watch++];
      if (lines === undefined) return stop.abort();
      requests.push(`watch ${query?.['resourceVersion']}`);
      for (const line of lines) {
        if (line instanceof Error) throw line;
        yield line;
      }
    },
  };
  const onError = (error: unknown) => errors.push(String(error));
  const prepare = (item: KubeObject) =>
    item.metadata.name === 'hidden' || item.metadata.labels?.['hidden'] ? undefined : item;
  await reflect({ client, path: '/p', store, prepare, onError, random: () => 0 }, stop.signal);
  return { requests, errors, keys: [...store.keys()], store };
}

const list = (resourceVersion: string, ...items: object[]) => ({ metadata: { resourceVersion }, items });

describe('a reflector', () => {
  test('lists in pages, then watches from where the list was', async () => {
    const { requests, keys } = await play({
      lists: [
        { metadata: { resourceVersion: '5', continue: 'more' }, items: [object('a', '1')] },
        list('5', object('b', '2'), object('hidden', '3')),
      ],
      watches: [[event('ADDED', 'c', '6'), event('DELETED', 'a', '7'), event('MODIFIED', 'b', '8')]],
    });
    expect(requests).toEqual(['list', 'list more', 'watch 5']);
    expect(keys).toEqual(['n/b', 'n/c']);
  });

  test('forgets an object that goes, or becomes one that is left out', async () => {
    const hidden = {
      type: 'MODIFIED',
      object: { metadata: { ...object('b', '7').metadata, labels: { hidden: 'yes' } } },
    };
    const { keys } = await play({
      lists: [list('5', object('a', '1'), object('b', '2'), object('c', '3'))],
      watches: [
        [
          hidden,
          { type: 'DELETED', object: { metadata: { ...object('c', '8').metadata, labels: { hidden: 'yes' } } } },
        ],
      ],
    });
    expect(keys).toEqual(['n/a']);
  });

  test('takes a watch up again where it ended, bookmarks and objects that are left out included', async () => {
    const { requests, store } = await play({
      lists: [list('5')],
      watches: [[event('ADDED', 'a', '6'), event('BOOKMARK', '', '9')], [event('ADDED', 'hidden', '12')], []],
    });
    expect(requests).toEqual(['list', 'watch 5', 'watch 9', 'watch 12']);
    expect(store.hasSeen('12')).toBe(true);
  });

  test.each([
    ['as an answer', [new ApiError(410, 'Expired', 'too old')]],
    ['inside a watch', [{ type: 'ERROR', object: { code: 410, reason: 'Expired', message: 'too old' } }]],
  ])('lists again when its resourceVersion is too old, %s, and swaps at once', async (_name, lines) => {
    const { requests, errors, keys } = await play({
      lists: [list('5', object('a', '1')), list('20', object('b', '15'))],
      watches: [lines, []],
    });
    expect(requests).toEqual(['list', 'watch 5', 'list', 'watch 20']);
    expect(keys).toEqual(['n/b']);
    expect(errors).toEqual([]);
  });

  test('tells of any other error, waits, and goes on from where it was', async () => {
    const { requests, errors, keys } = await play({
      lists: [new ApiError(500, 'InternalError', 'no'), list('5')],
      watches: [[event('ADDED', 'a', '6'), new Error('connection reset')], [event('ADDED', 'b', '7')]],
    });
    expect(requests).toEqual(['list', 'list', 'watch 5', 'watch 6']);
    expect(errors).toEqual(['ApiError: no', 'Error: connection reset']);
    expect(keys).toEqual(['n/a', 'n/b']);
  });
});

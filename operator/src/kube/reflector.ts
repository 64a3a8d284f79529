import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeClient } from './client.ts';
import { ApiError } from './errors.ts';
import type { KubeObject } from './objects.ts';
import type { Store } from './store.ts';

export interface ReflectorOptions<T extends KubeObject> {
  readonly client: KubeClient;
  /** The path of the collection. */
  readonly path: string;
  readonly labelSelector?: string;
  readonly store: Store<T>;
  /** Makes what is cached from what came over the wire; undefined leaves the object out. Must not throw. */
  readonly prepare: (object: KubeObject) => T | undefined;
  /** Told of each failure; the reflector goes on by itself. */
  readonly onError: (error: unknown) => void;
  /** From 0 to 1. */
  readonly random: () => number;
}

/**
 * What the reflector does next. A list leads to a watch from the list's resourceVersion; a watch that ends is taken up
 * again where it was; a resourceVersion that is too old leads back to a list.
 */
type State =
  | { readonly kind: 'listing'; readonly failures: number }
  | { readonly kind: 'watching'; readonly resourceVersion: string; readonly failures: number };

interface List {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  readonly items: readonly KubeObject[];
}

interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: KubeObject;
}

const pageSize = 500;
const backoffMilliseconds = { first: 500, most: 30_000 };

/** Keeps a store equal to a collection of the API server, until it is told to stop. */
export async function reflect<T extends KubeObject>(options: ReflectorOptions<T>, signal: AbortSignal): Promise<void> {
  let state: State = { kind: 'listing', failures: 0 };
  while (!signal.aborted) state = await step(state, options, signal);
}

async function step<T extends KubeObject>(
  state: State,
  options: ReflectorOptions<T>,
  signal: AbortSignal,
): Promise<State> {
  let progress: State = state;
  try {
    switch (state.kind) {
      case 'listing':
        return { kind: 'watching', resourceVersion: await list(options, signal), failures: 0 };
      case 'watching': {
        const seen = (resourceVersion: string) => {
          progress = { kind: 'watching', resourceVersion, failures: 0 };
        };
        const start = performance.now();
        await watch(state.resourceVersion, options, seen, signal);
        // A server that ends every watch at once is not asked without a pause.
        if (performance.now() - start < backoffMilliseconds.first)
          await pause(backoffMilliseconds.first * options.random(), signal);
        return progress;
      }
    }
  } catch (error) {
    if (signal.aborted) return state;
    if (error instanceof ApiError && error.status === 410) return { kind: 'listing', failures: 0 };
    options.onError(error);
    const failures = progress.failures + 1;
    const limit = Math.min(backoffMilliseconds.most, backoffMilliseconds.first * 2 ** (failures - 1));
    const retryAfter = error instanceof ApiError ? (error.retryAfterMilliseconds ?? 0) : 0;
    await pause(Math.max(retryAfter, limit * (0.5 + options.random() / 2)), signal);
    return { ...progress, failures };
  }
}

/** Ends early when the signal is aborted. */
async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch(() => undefined);
}

async function list<T extends KubeObject>(options: ReflectorOptions<T>, signal: AbortSignal): Promise<string> {
  const objects: T[] = [];
  let token: string | undefined;
  for (;;) {
    const query = { limit: pageSize, continue: token, labelSelector: options.labelSelector };
    const page: List = await options.client.call('GET', options.path, { query, signal });
    for (const item of page.items) {
      const object = options.prepare(item);
      if (object !== undefined) objects.push(object);
    }
    token = page.metadata.continue;
    if (token === undefined || token === '') {
      options.store.replace(objects, page.metadata.resourceVersion);
      return page.metadata.resourceVersion;
    }
  }
}

async function watch<T extends KubeObject>(
  resourceVersion: string,
  { client, path, labelSelector, store, prepare, random }: ReflectorOptions<T>,
  seen: (resourceVersion: string) => void,
  signal: AbortSignal,
): Promise<void> {
  // Ended by the server after five to ten minutes, each watch at another time.
  const timeoutSeconds = Math.round(300 + 300 * random());
  const query = { resourceVersion, allowWatchBookmarks: true, timeoutSeconds, labelSelector };
  for await (const line of client.watch(path, query, signal)) {
    const event = line as WatchEvent;
    if (event.type === 'ERROR') throw errorOf(event.object);
    const version = event.object.metadata.resourceVersion;
    const object = event.type === 'BOOKMARK' || event.type === 'DELETED' ? undefined : prepare(event.object);
    if (object !== undefined) store.put(object);
    else if (event.type === 'BOOKMARK') store.advance(version);
    // Gone, or changed into something that is left out: in both cases what was cached is not true any more.
    else store.remove(event.object);
    seen(version);
  }
}

function errorOf(status: unknown): ApiError {
  const {
    code = 500,
    reason = 'Unknown',
    message = 'the watch failed',
  } = status as {
    code?: number;
    reason?: string;
    message?: string;
  };
  return new ApiError(code, reason, message);
}

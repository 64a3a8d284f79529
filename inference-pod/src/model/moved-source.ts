import { setTimeout as sleep } from 'node:timers/promises';
import type { Credentials } from './credentials.ts';
import { describe } from './download.ts';
import { parseModelSource } from './source.ts';
import { storeDispatcher } from './store-dispatcher.ts';

export interface WatchedSource {
  /** As it was given, with a name in it that may move. */
  readonly uri: string;
  /** What it had led to. */
  readonly resolvedUri: string;
  readonly credentials: Credentials;
  readonly everySeconds: number;
}

const askedWithinMilliseconds = 60_000;
/** Pods that started together do not ask together. */
const spread = 0.5;

/**
 * Asks again and again what a name leads to, until it is told to stop: who serves goes on with what it has.
 *
 * @param onTold what it leads to now, where that is something else, or undefined; an error that it was answered with
 */
export async function watchSource(
  { uri, resolvedUri, credentials, everySeconds }: WatchedSource,
  onTold: (told: { readonly movedTo: string | undefined } | { readonly failure: string }) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const seconds = everySeconds * (1 - spread * Math.random());
    await sleep(seconds * 1000, undefined, { signal, ref: false }).catch(() => undefined);
    if (signal.aborted) return;
    try {
      const now = await leadsTo(uri, credentials, signal);
      onTold({ movedTo: now === resolvedUri ? undefined : now });
    } catch (error) {
      if (!signal.aborted) onTold({ failure: credentials.redacted(describe(error)) });
    }
  }
}

/**
 * What a name in a URI leads to now.
 *
 * @returns undefined where its store does not tell
 * @throws what asking throws
 */
async function leadsTo(uri: string, credentials: Credentials, signal: AbortSignal): Promise<string | undefined> {
  // Of what lies on a volume, nothing is asked.
  const source = parseModelSource(uri, '/', credentials);
  if (source.kind !== 'remote' || source.remote.resolve === undefined) return undefined;
  const dispatcher = await storeDispatcher(credentials);
  const either = AbortSignal.any([signal, AbortSignal.timeout(askedWithinMilliseconds)]);
  try {
    return await source.remote.resolve({ headers: {}, dispatcher, signal: either });
  } finally {
    await dispatcher.destroy();
  }
}

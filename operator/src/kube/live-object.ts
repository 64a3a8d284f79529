import type { KubeClient } from './client.ts';
import { isNotFound } from './errors.ts';
import type { KubeObject } from './objects.ts';

/** An object as the API server has it now; undefined where there is none. */
export async function liveObject(client: KubeClient, path: string): Promise<KubeObject | undefined> {
  try {
    return await client.call<KubeObject>('GET', path);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

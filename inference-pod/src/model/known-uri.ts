import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { resolvedUrisFile } from '../../../contract/src/link.ts';
import { isResolved } from '../../../contract/src/resolved-uri.ts';

export interface KnownUriSettings {
  readonly modelUri: string;
  /** Of this pod; undefined outside a cluster. */
  readonly revision: string | undefined;
  /** Where what the operator tells is mounted. */
  readonly linkDirectory: string;
}

/** What the URI of this pod's revision has led another pod to, where it may move; the URI itself otherwise. */
export async function knownUri({ modelUri, revision, linkDirectory }: KnownUriSettings): Promise<string> {
  if (revision === undefined) return modelUri;
  let known: unknown;
  try {
    known = JSON.parse(await readFile(join(linkDirectory, resolvedUrisFile), 'utf8'));
  } catch {
    // The operator has told nothing, or not in this form.
    return modelUri;
  }
  const found =
    typeof known === 'object' && known !== null
      ? Object.entries(known).find(([name]) => name === revision)?.[1]
      : undefined;
  return typeof found === 'string' && isResolved(modelUri, found) ? found : modelUri;
}

import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { PublicKeys } from '../../../contract/src/link.ts';
import type { KubeClient } from '../kube/client.ts';
import { isNotFound } from '../kube/errors.ts';
import { type KubeObject, pathOf, type Resource } from '../kube/objects.ts';

/** A key by which the operator signs tables. */
export interface LinkKey {
  readonly id: string;
  readonly privateKey: KeyObject;
  /** In milliseconds since 1970. */
  readonly made: number;
}

/** The Secret in the operator's namespace that holds the keys; the chart makes it, empty. */
export const linkKeySecret = 'slipway-link-keys';

const secrets: Resource = { group: '', version: 'v1', kind: 'Secret', plural: 'secrets' };

/** A key is followed by a new one after so long. */
const keyDays = 90;
/** Pods learn a new key by their mount, within minutes; until they have all learnt it, the old one still signs. */
const overlapDays = 7;
const dayMilliseconds = 86_400_000;

interface Secret extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

/**
 * Reads the keys, and makes a new one when there is none or the newest is old.
 *
 * @param now milliseconds since 1970
 * @returns the keys, the newest first
 * @throws ApiError when there is no right to it
 */
export async function loadLinkKeys(client: KubeClient, namespace: string, now: number): Promise<readonly LinkKey[]> {
  const path = pathOf(secrets, namespace, linkKeySecret);
  const secret = await readSecret(client, namespace);
  const stored = readKeys(secret.data ?? {});
  const { keys, changes } = rotated(stored, now, () => generateKeyPairSync('ed25519').privateKey);
  if (Object.keys(changes).length > 0) {
    await client.call('PATCH', path, {
      contentType: 'application/merge-patch+json',
      body: { metadata: { resourceVersion: secret.metadata.resourceVersion }, data: changes },
    });
  }
  return keys;
}

/** The chart makes the Secret; an operator that runs from a terminal makes it itself, if it may. */
async function readSecret(client: KubeClient, namespace: string): Promise<Secret> {
  try {
    return await client.call<Secret>('GET', pathOf(secrets, namespace, linkKeySecret));
  } catch (error) {
    if (!isNotFound(error)) throw error;
    const body = { apiVersion: 'v1', kind: 'Secret', metadata: { name: linkKeySecret } };
    return client.call<Secret>('POST', pathOf(secrets, namespace), { body });
  }
}

/** What pods are to know of the keys, as the JSON of a `PublicKeys`. Equal for equal keys. */
export function publicKeysOf(keys: readonly LinkKey[]): string {
  const known: PublicKeys = {
    keys: keys.map(({ id, privateKey }) => ({ id, key: spki(privateKey).toString('base64') })),
  };
  return JSON.stringify(known);
}

export function linkKey(privateKey: KeyObject, made: number): LinkKey {
  return { id: createHash('sha256').update(spki(privateKey)).digest('hex').slice(0, 16), privateKey, made };
}

function spki(privateKey: KeyObject): Buffer {
  return createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
}

/** Each key is a field of the Secret, named for when it was made. What cannot be read is no key. */
function readKeys(data: Readonly<Record<string, string>>): LinkKey[] {
  return Object.entries(data).flatMap(([name, value]) => {
    const made = Number(/^(\d+)\.pem$/.exec(name)?.[1]);
    if (Number.isNaN(made)) return [];
    try {
      return [linkKey(createPrivateKey(Buffer.from(value, 'base64')), made)];
    } catch {
      return [];
    }
  });
}

interface Rotation {
  readonly keys: readonly LinkKey[];
  /** Of the Secret's fields: null removes one. */
  readonly changes: Readonly<Record<string, string | null>>;
}

/** The keys as they should be: a new one when the newest is old, none that was followed by another long ago. */
export function rotated(stored: readonly LinkKey[], now: number, make: () => KeyObject): Rotation {
  const newestFirst = stored.toSorted((a, b) => b.made - a.made);
  const [newest] = newestFirst;
  const isFresh = newest !== undefined && now - newest.made < keyDays * dayMilliseconds;
  const current = isFresh ? newest : linkKey(make(), now);
  const others = newestFirst.filter((key) => key !== current);
  // Kept until every pod has learnt its successor.
  const kept = others.filter((_, index) => index === 0 && now - current.made < overlapDays * dayMilliseconds);
  const gone = others.filter((key) => !kept.includes(key));
  const pem = () => Buffer.from(current.privateKey.export({ format: 'pem', type: 'pkcs8' })).toString('base64');
  return {
    keys: [current, ...kept],
    changes: {
      ...(isFresh ? {} : { [`${current.made}.pem`]: pem() }),
      ...Object.fromEntries(gone.map(({ made }) => [`${made}.pem`, null])),
    },
  };
}

import { createPublicKey, randomUUID, verify } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type LinkAnswer,
  type LinkCall,
  type LinkGreeting,
  lateMilliseconds,
  linkVersion,
  type PodFigures,
  type PublicKeys,
  publicKeysFile,
  type Refusal,
  type SignedTable,
  type Table,
  type TableClaims,
} from '../../../contract/src/link.ts';

/** The pod's side of the pod link: takes tables from whom the mounted keys know, and tells them figures. */
export interface PodLink {
  answer(call: LinkCall): Promise<LinkAnswer>;
  /** The table in force; undefined once it has run out. */
  readonly table: { readonly sequence: number; readonly table: Table } | undefined;
}

export interface PodLinkOptions {
  /** The pod's uid; '' outside a cluster, where no table can be addressed to it. */
  readonly pod: string;
  /** Where the operator's public keys are mounted, if they are. */
  readonly directory: string;
  readonly figures: () => Omit<PodFigures, 'table'>;
  /** A clock that never jumps, in milliseconds. */
  readonly now: () => number;
}

interface Taken {
  readonly sequence: number;
  readonly table: Table;
  readonly until: number;
}

/** The most that a table may be kept without being renewed. */
const mostHoldsSeconds = 3600;

export function createPodLink({ pod, directory, figures, now }: PodLinkOptions): PodLink {
  const nonce = randomUUID();
  const start = now();
  let taken: Taken | undefined;
  let lastSequence = 0;

  const inForce = () => {
    if (taken !== undefined && now() >= taken.until) taken = undefined;
    return taken === undefined ? undefined : { sequence: taken.sequence, table: taken.table };
  };
  const greeting = (): LinkGreeting => ({ version: linkVersion, pod, nonce, clock: now() - start });

  const take = async (signed: SignedTable): Promise<Refusal | undefined> => {
    const key = await publicKey(directory, signed.key);
    if (key === undefined) return 'UnknownKey';
    if (!isSigned(signed, key)) return 'Forged';
    const claims = parseClaims(signed.payload);
    if (claims === undefined) return 'Malformed';
    if (claims.pod !== pod || claims.nonce !== nonce || pod === '') return 'Misdirected';
    if (claims.sequence <= lastSequence) return 'Replayed';
    if (Math.abs(now() - start - claims.clock) > lateMilliseconds) return 'Late';
    lastSequence = claims.sequence;
    const seconds = Math.min(mostHoldsSeconds, claims.holdsSeconds);
    taken = { sequence: claims.sequence, table: claims.table, until: now() + seconds * 1000 };
    return undefined;
  };

  return {
    async answer({ table }) {
      if (table === undefined) return { kind: 'greeting', ...greeting() };
      const refusal = await take(table);
      if (refusal !== undefined) return { kind: 'refused', ...greeting(), refusal };
      return { kind: 'figures', ...greeting(), ...figures(), table: inForce() };
    },
    get table() {
      return inForce();
    },
  };
}

/** The mounted keys are read anew each time: they are rotated under a pod that goes on. */
async function publicKey(directory: string, id: string): Promise<string | undefined> {
  try {
    const { keys }: PublicKeys = JSON.parse(await readFile(join(directory, publicKeysFile), 'utf8'));
    return keys.find((key) => key.id === id)?.key;
  } catch {
    // Nothing is mounted, or nothing that can be read: nobody is known.
    return undefined;
  }
}

function isSigned({ payload, signature }: SignedTable, key: string): boolean {
  try {
    const publicKey = createPublicKey({ key: Buffer.from(key, 'base64'), format: 'der', type: 'spki' });
    // Any other kind of key would be verified by other rules.
    if (publicKey.asymmetricKeyType !== 'ed25519') return false;
    return verify(null, Buffer.from(payload), publicKey, Buffer.from(signature, 'base64'));
  } catch {
    return false;
  }
}

/** Signed by the operator, but perhaps by one of another version. */
function parseClaims(payload: string): TableClaims | undefined {
  let claims: Partial<TableClaims> | null;
  try {
    claims = JSON.parse(payload);
  } catch {
    return undefined;
  }
  if (typeof claims !== 'object' || claims === null) return undefined;
  const { pod, nonce, sequence, clock, holdsSeconds, table } = claims;
  const isWhole =
    typeof pod === 'string' &&
    typeof nonce === 'string' &&
    Number.isSafeInteger(sequence) &&
    typeof clock === 'number' &&
    typeof holdsSeconds === 'number' &&
    holdsSeconds > 0 &&
    typeof table === 'object' &&
    table !== null;
  return isWhole ? (claims as TableClaims) : undefined;
}

/** Reads the body of a call; undefined for one that is none. */
export function parseLinkCall(value: unknown): LinkCall | undefined {
  if (typeof value !== 'object' || value === null || !('version' in value) || typeof value.version !== 'number')
    return undefined;
  if (!('table' in value) || value.table === undefined) return { version: value.version };
  const table = value.table as Partial<SignedTable> | null;
  if (typeof table !== 'object' || table === null) return undefined;
  const { key, payload, signature } = table;
  if (typeof key !== 'string' || typeof payload !== 'string' || typeof signature !== 'string') return undefined;
  return { version: value.version, table: { key, payload, signature } };
}

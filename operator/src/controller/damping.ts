import type { Refusal } from '../observed.ts';
import { nameOf, type Write } from './writes.ts';

/** How soon a refused write is tried again: the first time, and at most. */
const refusedMilliseconds = { first: 1000, most: 60_000 };

/** How long a write waits that was refused so often. */
export function refusalDelay(failures: number): number {
  return Math.min(refusedMilliseconds.most, refusedMilliseconds.first * 2 ** (failures - 1));
}

/** Repairs that are further apart than this are not of one quarrel. */
export const quarrelMilliseconds = 3_600_000;
/** So many repairs in a row are made at once: somebody may try again what was put back. */
const promptRepairs = 5;
/** After so many, the operator gives in for as long as a quarrel is remembered. */
const mostRepairs = 12;
const repairMilliseconds = { first: 5000, most: 600_000 };

/** How long the next repair of the same waits, so that no quarrel goes on for ever. */
export function repairDelay(repairs: number): number {
  if (repairs < promptRepairs) return 0;
  if (repairs >= mostRepairs) return quarrelMilliseconds;
  return Math.min(repairMilliseconds.most, repairMilliseconds.first * 2 ** (repairs - promptRepairs));
}

/** Writes before and behind the status. */
export interface Phases {
  readonly before: readonly Write[];
  readonly after: readonly Write[];
}

export interface Damped extends Phases {
  /** Whether what the status relies on is refused: the record of the revision, or the end of an undo's evidence. */
  readonly isHeld: boolean;
  /** Why writes that are still wanted were refused. */
  readonly refusals: ReadonlyMap<string, Refusal>;
  readonly requeueAfterMilliseconds: readonly number[];
}

/**
 * Leaves out what was refused a short while ago, and what hangs on it: other writes to the same child, and everything
 * behind the status when what comes before that is refused. A refusal of what is not wanted any more is none.
 */
export function dampen(phases: Phases, refusals: ReadonlyMap<string, Refusal>, now: Date): Damped {
  if (refusals.size === 0) return { ...phases, isHeld: false, refusals, requeueAfterMilliseconds: [] };
  const wanted = new Set([...phases.before, ...phases.after].map(nameOf));
  const inForce = new Map(Array.from(refusals).filter(([name]) => wanted.has(name)));
  const waits = (write: Write) => (inForce.get(nameOf(write))?.retryAt ?? 0) > now.getTime();
  const waiting = [...phases.before, ...phases.after].filter(waits);
  const heldUp = new Set(waiting.flatMap((write) => ('child' in write ? [write.child] : [])));
  const isMade = (write: Write) => !waits(write) && !('child' in write && heldUp.has(write.child));
  const isHeld = phases.before.some((write) => inForce.has(nameOf(write)));
  const before = phases.before.filter(isMade);
  return {
    before,
    isHeld,
    // Once it is taken, the next pass goes on.
    after: isHeld ? [] : phases.after.filter(isMade),
    refusals: inForce,
    requeueAfterMilliseconds: Array.from(inForce.values(), ({ retryAt }) => Math.max(0, retryAt - now.getTime())),
  };
}

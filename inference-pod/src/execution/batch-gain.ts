import { type ModelSession, zeroInputs } from '../model/session.ts';
import { isBatchable } from './batching.ts';

/** Larger batches gain little more (measured: most is had by 16 to 32 rows), and take long to measure. */
const mostMeasuredRows = 16;
const measuringMilliseconds = 200;
const mostRuns = 20;

/**
 * How many times as many rows a second the model computes when rows are run together as when they are run one by one,
 * measured on zeros.
 *
 * @param mostRows of one run
 * @returns undefined for a model that cannot be given several, or that does not answer with as many rows
 */
export async function measureBatchGain(session: ModelSession, mostRows: number): Promise<number | undefined> {
  if (!isBatchable(session.signature)) return undefined;
  const rows = Math.min(mostRows, mostMeasuredRows);
  try {
    const alone = await quickestRun(session, 1);
    const together = await quickestRun(session, rows);
    return together === undefined || alone === undefined ? undefined : (rows * alone) / together;
  } catch {
    // It refuses zeros, or so many rows.
    return undefined;
  }
}

/** Milliseconds; undefined if the outputs do not have the rows of the inputs. */
async function quickestRun(session: ModelSession, rows: number): Promise<number | undefined> {
  const inputs = zeroInputs(session.signature, rows);
  const begin = performance.now();
  let quickest = Number.POSITIVE_INFINITY;
  for (let run = 0; run < mostRuns && (run < 2 || performance.now() - begin < measuringMilliseconds); run++) {
    const start = performance.now();
    const outputs = await session.run(inputs, session.signature.outputs);
    quickest = Math.min(quickest, performance.now() - start);
    if (Array.from(outputs.values()).some(({ shape }) => shape[0] !== rows)) return undefined;
  }
  return quickest;
}

/** What has become of batching that was asked for. */
export type BatchingDecision =
  | { readonly kind: 'on'; readonly gain: number }
  | { readonly kind: 'off'; readonly reason: string };

/** Less is not worth what waiting for one another costs. */
const leastGain = 1.1;

/** @param gain as it was measured */
export function decideBatching(isPossible: boolean, gain: number | undefined): BatchingDecision {
  if (!isPossible) {
    return {
      kind: 'off',
      reason: 'the model cannot be given several requests at once: the first dimension of each tensor has to be free',
    };
  }
  if (gain === undefined) {
    return { kind: 'off', reason: 'the model does not answer several rows of zeros with as many rows' };
  }
  if (gain < leastGain) {
    return {
      kind: 'off',
      reason: `it does not help: rows that are run together take ${(1 / gain).toFixed(2)} times as long each as alone`,
    };
  }
  return { kind: 'on', gain };
}

/** A decision in words. */
export function inWords(decision: BatchingDecision): string {
  return decision.kind === 'on'
    ? `on: together, ${decision.gain.toFixed(1)} times as many rows a second`
    : `off: ${decision.reason}`;
}

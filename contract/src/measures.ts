import { emptyHistogram, mergeHistograms } from './histogram.ts';
import type { Counters, Measures } from './link.ts';

export const noMeasures: Measures = {
  counters: { requests: 0, refused: 0, failed: 0, abandoned: 0 },
  latency: emptyHistogram,
};

/** The sum of the measures of two processes, or of two sums. */
export function addMeasures(a: Measures, b: Measures): Measures {
  return { counters: addCounters(a.counters, b.counters), latency: mergeHistograms(a.latency, b.latency) };
}

function addCounters(a: Counters, b: Counters): Counters {
  return {
    requests: a.requests + b.requests,
    refused: a.refused + b.refused,
    failed: a.failed + b.failed,
    abandoned: a.abandoned + b.abandoned,
  };
}

/**
 * Adds up what many processes tell of themselves, each of them again and again. What a process told last stays counted
 * when it ends or its container starts anew, so the sum never falls, and nothing is counted twice.
 */
export class MeasuresTotal {
  /** Of processes that have ended. */
  #ended = noMeasures;
  /** What each pod's living process has told last, by the pod's uid. */
  readonly #living = new Map<string, { readonly nonce: string; readonly measures: Measures }>();

  /**
   * @param nonce tells one life of the pod from another
   * @param measures since that life began
   */
  tell(pod: string, nonce: string, measures: Measures): void {
    const before = this.#living.get(pod);
    if (before !== undefined && before.nonce !== nonce) this.#ended = addMeasures(this.#ended, before.measures);
    this.#living.set(pod, { nonce, measures });
  }

  /** The pod is gone. */
  end(pod: string): void {
    const last = this.#living.get(pod);
    if (last === undefined) return;
    this.#ended = addMeasures(this.#ended, last.measures);
    this.#living.delete(pod);
  }

  get pods(): number {
    return this.#living.size;
  }

  get now(): Measures {
    return Array.from(this.#living.values()).reduce((sum, { measures }) => addMeasures(sum, measures), this.#ended);
  }
}

/** Tokens of one run at most, padding included: what a run holds in memory is bounded, however many texts a request has. */
const mostTokensOfRun = 16_384;
const mostRowsOfRun = 64;
/** A run takes as long as so many tokens, whatever is in it (measured with all-MiniLM-L6-v2). */
const tokensOfEmptyRun = 16;

interface Sized {
  readonly text: {
    /** In tokens. */
    readonly length: number;
  };
}

/** How the first texts, so many of them, are run. */
interface Division {
  /** In tokens, padding included. */
  readonly cost: number;
  /** The first text of the last run. */
  readonly from: number;
}

/**
 * Divides texts into runs so that as few tokens as possible are computed, padding among them: a long text would make many short ones as
 * long as itself.
 *
 * @param texts the shortest first
 * @param hasMask whether padding can be told from tokens: without it, only texts of one length are run together
 */
export function runsOf<T extends Sized>(texts: readonly T[], hasMask: boolean): readonly (readonly T[])[] {
  const divisions: Division[] = [{ cost: 0, from: 0 }];
  for (let end = 1; end <= texts.length; end++) divisions.push(cheapest(texts, end, divisions, hasMask));
  const runs: (readonly T[])[] = [];
  for (let end = texts.length; end > 0; ) {
    const from = divisions[end]?.from ?? 0;
    runs.push(texts.slice(from, end));
    end = from;
  }
  return runs.reverse();
}

/** @param before of each smaller number of texts */
function cheapest(texts: readonly Sized[], end: number, before: readonly Division[], hasMask: boolean): Division {
  const longest = lengthAt(texts, end - 1);
  let best: Division = { cost: Number.POSITIVE_INFINITY, from: end - 1 };
  for (let from = end - 1; from >= Math.max(0, end - mostRowsOfRun); from--) {
    const tokens = (end - from) * longest;
    const isAlone = from === end - 1;
    if (!isAlone && (tokens > mostTokensOfRun || !(hasMask || lengthAt(texts, from) === longest))) break;
    const cost = (before[from]?.cost ?? 0) + tokensOfEmptyRun + tokens;
    if (cost < best.cost) best = { cost, from };
  }
  return best;
}

function lengthAt(texts: readonly Sized[], index: number): number {
  return texts[index]?.text.length ?? 0;
}

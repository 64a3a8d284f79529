import type { Count } from './proportion.ts';

/** Fewer blocks say little of how much they vary. */
const leastBlocks = 4;

/**
 * How many times as much counts vary as those of independent requests would, which have neither pods that are worse nor
 * times that are. Pearson's statistic for the heterogeneity of proportions over its degrees of freedom, the dispersion of
 * P. McCullagh and J. A. Nelder, "Generalized Linear Models" (1989), section 4.5, of the cells themselves and of blocks of
 * 1, 2, 4... intervals, as long as there are four: what is long correlated shows in long blocks (the batch means of G. Fishman,
 * Management Science 24, 1978). The largest is the design effect of L. Kish, "Survey Sampling" (1965).
 *
 * @param intervals one after the other, each with the cells of its pods
 * @returns at least 1: that counts vary less than chance is chance
 */
export function designEffect(intervals: readonly (readonly Count[])[]): number {
  const sums = intervals.map(sumOf);
  let largest = Math.max(1, dispersion(intervals.flat()));
  for (let length = 1; sums.length >= leastBlocks * length; length *= 2) {
    largest = Math.max(largest, dispersion(blocksOf(sums, length)));
  }
  return largest;
}

/** Whole blocks, of which the last ends with the last interval. */
function blocksOf(sums: readonly Count[], length: number): readonly Count[] {
  const blocks = Math.floor(sums.length / length);
  const first = sums.length - blocks * length;
  return Array.from({ length: blocks }, (_, block) =>
    sumOf(sums.slice(first + block * length, first + (block + 1) * length)),
  );
}

function dispersion(cells: readonly Count[]): number {
  const counted = cells.filter(({ total }) => total > 0);
  const { bad, total } = sumOf(counted);
  if (counted.length < 2 || bad === 0 || bad === total) return 0;
  const mean = bad / total;
  const statistic = counted.reduce(
    (sum, cell) => sum + (cell.bad - cell.total * mean) ** 2 / (cell.total * mean * (1 - mean)),
    0,
  );
  return statistic / (counted.length - 1);
}

/** All cells as one count, made as small as its information is. */
export function discounted(intervals: readonly (readonly Count[])[]): Count {
  const { bad, total } = sumOf(intervals.flat());
  const effect = designEffect(intervals);
  return { bad: bad / effect, total: total / effect };
}

export function sumOf(cells: readonly Count[]): Count {
  return cells.reduce((sum, { bad, total }) => ({ bad: sum.bad + bad, total: sum.total + total }), {
    bad: 0,
    total: 0,
  });
}

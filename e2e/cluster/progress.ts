import { performance } from 'node:perf_hooks';

const tickSeconds = 15;

/** Shows what is being done, how long it has been going on every 15 seconds, and how long it took. */
export async function step<T>(title: string, work: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const elapsed = () => `${((performance.now() - start) / 1000).toFixed(1)} s`;
  const ticker = setInterval(() => print(`  ... ${title}: ${elapsed()} so far`), tickSeconds * 1000);
  try {
    const result = await work();
    print(`  ${elapsed().padStart(8)}  ${title}`);
    return result;
  } catch (error) {
    print(`  ${elapsed().padStart(8)}  ${title}: failed`);
    throw error;
  } finally {
    clearInterval(ticker);
  }
}

export function print(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Polls until a condition holds. */
export async function until(what: string, seconds: number, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what}: not after ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

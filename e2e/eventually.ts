/** Polls until what is read is as it should be, and returns it; the error says what it was at last. */
export async function eventually<T>(
  read: () => Promise<T>,
  holds: (value: T) => boolean,
  { seconds = 20, everyMilliseconds = 50 }: { readonly seconds?: number; readonly everyMilliseconds?: number } = {},
): Promise<T> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const value = await read();
    if (holds(value)) return value;
    if (performance.now() > deadline) throw new Error(`not after ${seconds} s: ${JSON.stringify(value, undefined, 1)}`);
    await new Promise((resolve) => setTimeout(resolve, everyMilliseconds));
  }
}

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Measured for tensors of 600 KB, in binary and in JSON: less collects too often, more comes too late. */
const collectedBytes = 6 * 2 ** 20;
/** A collection of everything takes a few milliseconds in an executor. */
const collectedOldBytes = 64 * 2 ** 20;

setFlagsFromString('--expose-gc');
const collect: (options: { readonly type: 'minor' | 'major'; readonly execution: 'sync' }) => void =
  runInNewContext('gc');

let left = 0;
let leftOld = 0;

/**
 * Counts bytes of large buffers that are garbage soon. V8 counts them as memory beside its heap, and answers too much of it
 * with a collection of everything, which takes many milliseconds; a small one frees those that are young in less than one.
 */
export function leaveBehind(bytes: number): void {
  left += bytes;
  if (left < collectedBytes) return;
  left = 0;
  collect({ type: 'minor', execution: 'sync' });
}

/**
 * Counts bytes that are garbage now, and that only a collection of everything lets go: memory of the runtime's own, such as
 * the outputs of a model, and what was long in use. V8 makes none before a gigabyte of them, and none while nothing is done.
 */
export function leaveOldBehind(bytes: number): void {
  leftOld += bytes;
  if (leftOld < collectedOldBytes) return;
  leftOld = 0;
  collect({ type: 'major', execution: 'sync' });
}

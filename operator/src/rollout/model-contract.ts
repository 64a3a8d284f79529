import type { ModelSignature, TensorDescription } from '../../../contract/src/link.ts';

/**
 * Why requests that the serving model answers could fail or be answered otherwise by a candidate, judged by their
 * signatures: one sentence for each breach, none if old requests may be sent to it. More inputs than before, or others,
 * break; more outputs do not. An input that takes more shapes than before does not break, nor an output that has fewer.
 */
export function contractBreaches(serving: ModelSignature, candidate: ModelSignature): string[] {
  return [
    ...missing('input', serving.inputs, candidate.inputs),
    ...missing('output', serving.outputs, candidate.outputs),
    ...added(serving.inputs, candidate.inputs),
    ...common(serving.inputs, candidate.inputs).flatMap(([old, now]) => changedInput(old, now)),
    ...common(serving.outputs, candidate.outputs).flatMap(([old, now]) => changedOutput(old, now)),
  ];
}

type Tensors = readonly TensorDescription[];

const namesOf = (tensors: Tensors) => new Set(tensors.map(({ name }) => name));

function without(tensors: Tensors, others: Tensors): Tensors {
  const names = namesOf(others);
  return tensors.filter(({ name }) => !names.has(name));
}

function common(old: Tensors, now: Tensors): (readonly [TensorDescription, TensorDescription])[] {
  return old.flatMap((tensor) => {
    const other = now.find(({ name }) => name === tensor.name);
    return other === undefined ? [] : [[tensor, other] as const];
  });
}

/** What is missing and has a new twin of the same type and shape was probably renamed. */
function missing(what: 'input' | 'output', old: Tensors, now: Tensors): string[] {
  const fresh = without(now, old);
  return without(old, now).map((tensor) => {
    const twin = fresh.find((other) => isTwin(tensor, other));
    return twin === undefined
      ? `the ${what} '${tensor.name}' is gone`
      : `the ${what} '${tensor.name}' is gone, or is called '${twin.name}' now`;
  });
}

function isTwin(a: TensorDescription, b: TensorDescription): boolean {
  return a.datatype === b.datatype && a.shape.length === b.shape.length && a.shape.every((d, i) => d === b.shape[i]);
}

function added(old: Tensors, now: Tensors): string[] {
  return without(now, old).map(({ name }) => `the input '${name}' is new, and required`);
}

function changedInput(old: TensorDescription, now: TensorDescription): string[] {
  return changed('input', old, now, (was, is) => is !== -1 && is !== was);
}

function changedOutput(old: TensorDescription, now: TensorDescription): string[] {
  return changed('output', old, now, (was, is) => was !== -1 && is !== was);
}

function changed(
  what: 'input' | 'output',
  old: TensorDescription,
  now: TensorDescription,
  isBreach: (was: number, is: number) => boolean,
): string[] {
  const where = `the ${what} '${old.name}'`;
  const type = old.datatype === now.datatype ? [] : [`${where} is ${now.datatype} instead of ${old.datatype}`];
  if (old.shape.length !== now.shape.length)
    return [...type, `${where} has ${now.shape.length} dimensions instead of ${old.shape.length}`];
  const dimensions = old.shape.flatMap((was, axis) => {
    const is = now.shape[axis] ?? -1;
    return isBreach(was, is) ? [`${where} has ${sizeOf(is)} in dimension ${axis} instead of ${sizeOf(was)}`] : [];
  });
  return [...type, ...dimensions];
}

function sizeOf(dimension: number): string {
  return dimension === -1 ? 'any size' : String(dimension);
}

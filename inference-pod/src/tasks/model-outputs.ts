import type { Signature, Tensor, TensorData } from '../protocol/datatypes.ts';
import type { Task } from './task.ts';

/** A model, or a file beside it, is none that the task can be done with. */
export class UnusableModel extends Error {
  override readonly name: string = 'UnusableModel';
}

/** A model has other inputs or outputs. */
export class UnfitModel extends UnusableModel {
  override readonly name = 'UnfitModel';
}

const floats = ['FP32', 'FP16', 'FP64'];

/** The outputs of floats that have one of these ranks. */
export function floatOutputs({ outputs }: Signature, ...ranks: readonly number[]): Signature['outputs'] {
  return outputs.filter(
    ({ datatype, shape, isRankUnknown }) =>
      floats.includes(datatype) && (isRankUnknown === true || ranks.includes(shape.length)),
  );
}

export function inWords(tensors: Signature['inputs']): string {
  return tensors.map(({ name, datatype, shape }) => `${name} (${datatype} [${shape.join(', ')}])`).join(', ');
}

/** What a model gave, as numbers of single precision. */
export function floatsOf(datatype: Tensor['datatype'], data: TensorData): Float32Array {
  if (data instanceof Float32Array) return data;
  if (datatype === 'FP16' && data instanceof Uint16Array)
    return Float32Array.from(new Float16Array(data.buffer, data.byteOffset, data.length));
  if (data instanceof Float64Array) return Float32Array.from(data);
  throw new Error(`the model gave ${datatype}, which are no floats`);
}

/**
 * The output that has a number for each label of each token.
 *
 * @throws UnfitModel
 */
export function tokenOutputOf(signature: Signature, task: Task['kind'], labels: number): string {
  const fit = floatOutputs(signature, 3).filter(
    ({ shape, isRankUnknown }) => isRankUnknown === true || shape[2] === -1 || shape[2] === labels,
  );
  const output = fit.find(({ name }) => name === 'logits') ?? fit[0];
  if (output === undefined)
    throw new UnfitModel(
      `the task ${task} needs a model with an output of floats [-1, -1, ${labels}]; this one has ${inWords(signature.outputs)}`,
    );
  return output.name;
}

/**
 * The output that has a number for each label.
 *
 * @throws UnfitModel
 */
export function classOutputOf(signature: Signature, task: Task['kind'], labels: number): string {
  const fit = floatOutputs(signature, 2, ...(labels === 1 ? [1] : [])).filter(({ shape, isRankUnknown }) => {
    const width = shape.length === 1 ? 1 : shape[1];
    return isRankUnknown === true || width === -1 || width === labels;
  });
  const output = fit.find(({ name }) => name === 'logits') ?? fit[0];
  if (output === undefined)
    throw new UnfitModel(
      `the task ${task} needs a model with an output of floats [-1, ${labels}]; this one has ${inWords(signature.outputs)}`,
    );
  return output.name;
}

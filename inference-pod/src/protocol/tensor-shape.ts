import { elementCount, type TensorSignature } from './datatypes.ts';
import { badRequest } from './request-error.ts';

/** More elements than any tensor has that fits into a request. */
const mostElements = 2 ** 40;
/** A shape without elements may still make the model work, and answer, along its other dimensions. */
const mostBesideZero = 2 ** 16;

/**
 * Whether a tensor of this shape may be given to an input.
 *
 * @throws RequestError 400 that names the input and what was expected
 */
export function checkShape(expected: TensorSignature, shape: readonly number[]): void {
  const refuse = (reason: string) => badRequest(`input '${expected.name}': shape [${shape.join(', ')}] ${reason}`);
  const others = elementCount(shape.filter((dimension) => dimension !== 0));
  if (others > mostElements) throw refuse('is larger than any tensor that can be sent');
  if (shape.includes(0) && others > mostBesideZero) {
    throw refuse(`has no elements, and more than ${mostBesideZero} along its other dimensions`);
  }
  // onnxruntime takes more for a scalar than the model says, and has to judge itself where the rank is unknown.
  if (expected.shape.length === 0) return;
  if (shape.length !== expected.shape.length) {
    throw refuse(`has rank ${shape.length}, expected rank ${expected.shape.length}, ${describeShape(expected)}`);
  }
  const wrong = expected.shape.findIndex((dimension, axis) => dimension !== -1 && dimension !== shape[axis]);
  if (wrong !== -1) {
    throw refuse(
      `has ${shape[wrong]} in dimension ${wrong}, expected ${expected.shape[wrong]}, ${describeShape(expected)}`,
    );
  }
}

export function describeSignature(tensor: TensorSignature): string {
  return `'${tensor.name}' ${tensor.datatype} ${describeShape(tensor)}`;
}

export function describeShape({ shape, isRankUnknown }: TensorSignature): string {
  if (isRankUnknown) return 'of any shape';
  return `shape [${shape.join(', ')}]${shape.includes(-1) ? ' (-1 is any size)' : ''}`;
}

export function quotedNames(tensors: readonly TensorSignature[]): string {
  return tensors.map(({ name }) => `'${name}'`).join(', ');
}

import { elementBytes, stringBytes } from './binary-tensors.ts';
import {
  elementCount,
  type Signature,
  type Tensor,
  type TensorData,
  type TensorSignature,
  zeros,
} from './datatypes.ts';
import type { DecodeLimits, InferenceRequest } from './open-inference-request.ts';
import { badRequest } from './request-error.ts';
import { checkShape, describeSignature } from './tensor-shape.ts';
import { mostRows } from './tensorflow-predict.ts';

/** What TensorFlow Serving answers to examples: classes with their scores, or one value. */
export type ExampleMethod = 'classify' | 'regress';

/**
 * The outputs that a method answers with: one of floats, in rows of classes for classify and in rows of one value for
 * regress; and for classify, where the model has them, the labels in an output of strings of the same form.
 *
 * @throws RequestError 400 for a model that has no such output, or several
 */
export function outputsOf(method: ExampleMethod, { outputs }: Signature): InferenceRequest['outputs'] {
  const isFloat = ({ datatype }: TensorSignature) => datatype.startsWith('FP');
  const isRow = ({ shape }: TensorSignature) =>
    method === 'classify' ? shape.length === 2 : shape.length === 1 || (shape.length === 2 && shape[1] === 1);
  const [scores, ...others] = outputs.filter((output) => isFloat(output) && isRow(output));
  if (scores === undefined || others.length > 0) {
    const wanted = method === 'classify' ? 'in rows of classes' : 'with one value a row';
    throw badRequest(
      `${method} needs a model with one output of floats ${wanted}; this one has ${outputs.map(describeSignature).join(', ')}: use predict`,
    );
  }
  const labels = outputs.filter((output) => output.datatype === 'BYTES' && isRow(output));
  const asked = method === 'classify' && labels.length === 1 ? [scores, ...labels] : [scores];
  return asked.map(({ name }) => ({ name, isBinary: false, classes: undefined }));
}

/** The features of examples, collected into the inputs of a model: an input's feature has its name and a row's values. */
export class ExampleRows {
  readonly #signature: Signature;
  readonly #rows: number;
  readonly #limits: DecodeLimits;
  readonly #inputs = new Map<string, { readonly data: TensorData; readonly size: number; filled: number }>();
  readonly #context = new Map<string, TensorData>();
  #bytes = 0;

  /** @throws RequestError 400, 413 */
  constructor(signature: Signature, rows: number, limits: DecodeLimits) {
    if (rows === 0) throw badRequest('there are no examples: send at least one');
    if (rows > mostRows) throw badRequest(`there are ${rows} examples, more than ${mostRows}`, 413);
    const odd = signature.inputs.find(({ shape }) => shape[0] !== -1 && shape[0] !== rows);
    if (odd !== undefined) {
      throw badRequest(`input ${describeSignature(odd)} has no rows for ${rows} examples: use predict`);
    }
    this.#signature = signature;
    this.#rows = rows;
    this.#limits = limits;
  }

  /** The input of a feature; undefined for features that the model does not take. */
  inputOf(feature: string): TensorSignature | undefined {
    return this.#signature.inputs.find(({ name }) => name === feature);
  }

  /** What all examples have that do not say otherwise. */
  putContext(input: TensorSignature, values: TensorData): void {
    this.#context.set(input.name, values);
  }

  put(row: number, { name, datatype }: TensorSignature, values: TensorData): void {
    const size = values.length;
    if (Array.isArray(values)) {
      for (const text of values) this.#bytes += Buffer.byteLength(text);
      this.#refuseMore(name);
    }
    let input = this.#inputs.get(name);
    if (input === undefined) {
      const count = size * this.#rows;
      this.#bytes += count * (elementBytes(datatype) ?? stringBytes);
      this.#refuseMore(name);
      this.#limits.patience?.spend(count);
      input = { data: zeros(datatype, count), size, filled: 0 };
      this.#inputs.set(name, input);
    }
    if (input.size !== size) {
      throw badRequest(`examples[${row}]: feature '${name}': has ${size} values, and earlier examples ${input.size}`);
    }
    if (input.filled > row) throw badRequest(`examples[${row}]: feature '${name}': given twice`);
    copyInto(input.data, values, row * size);
    input.filled = row + 1;
  }

  #refuseMore(name: string): void {
    const { mostTensorBytes } = this.#limits;
    if (this.#bytes <= mostTensorBytes) return;
    throw badRequest(`input '${name}': takes more than the ${mostTensorBytes} bytes that a request may take`, 413);
  }

  /** Ends a row: what it has not said is taken from the context. @throws RequestError 400 for what is missing */
  endRow(row: number): void {
    this.#limits.patience?.spend();
    for (const input of this.#signature.inputs) {
      if (this.#inputs.get(input.name)?.filled === row + 1) continue;
      const values = this.#context.get(input.name);
      if (values === undefined) {
        throw badRequest(`examples[${row}]: feature '${input.name}': missing; expected ${describeSignature(input)}`);
      }
      this.put(row, input, values);
    }
  }

  inputs(): ReadonlyMap<string, Tensor> {
    const tensors = new Map<string, Tensor>();
    for (const expected of this.#signature.inputs) {
      const { name, datatype } = expected;
      const { data, size } = this.#inputs.get(name) ?? { data: [], size: 0 };
      const shape = [this.#rows, ...rowShape(expected, size)];
      checkShape(expected, shape);
      tensors.set(name, { datatype, shape, data });
    }
    return tensors;
  }
}

/** The shape of so many values of a row: what is not known of it follows from their number. */
function rowShape({ name, shape }: TensorSignature, size: number): readonly number[] {
  const inner = shape.slice(1);
  const known = elementCount(inner.filter((dimension) => dimension !== -1));
  const free = inner.filter((dimension) => dimension === -1).length;
  const rest = size / known;
  if (free <= 1 && Number.isInteger(rest) && (free === 1 || rest === 1)) {
    return inner.map((dimension) => (dimension === -1 ? rest : dimension));
  }
  throw badRequest(`feature '${name}': ${size} values in each example do not make rows of [${inner.join(', ')}]`);
}

function copyInto(into: TensorData, values: TensorData, offset: number): void {
  if (Array.isArray(into)) {
    for (const [index, value] of values.entries()) into[offset + index] = String(value);
  } else if (!Array.isArray(values)) {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(bytes, offset * into.BYTES_PER_ELEMENT);
  }
}

export interface Results {
  readonly rows: number;
  readonly classes: number;
  readonly scores: Tensor;
  readonly labels: readonly string[] | undefined;
}

/** @throws RequestError 400 when they are not as many as the examples */
export function resultsOf(
  { outputs: asked, rows: examples }: InferenceRequest,
  outputs: ReadonlyMap<string, Tensor>,
): Results {
  const [scores, labels] = asked.map(({ name }) => outputs.get(name));
  if (scores === undefined) throw new Error('the model has not computed its scores');
  const rows = scores.shape[0] ?? 0;
  const classes = elementCount(scores.shape.slice(1));
  const texts = labels !== undefined && Array.isArray(labels.data) ? labels.data : undefined;
  if (rows !== examples || (texts !== undefined && texts.length !== rows * classes)) {
    throw badRequest(
      `the model answers ${examples} examples with scores of shape [${scores.shape.join(', ')}]${labels === undefined ? '' : ` and labels of shape [${labels.shape.join(', ')}]`}: use predict`,
    );
  }
  return { rows, classes, scores, labels: texts };
}

/** The label of a class: what the model says, or its place. */
export function labelOf({ labels, classes }: Results, index: number): string {
  return labels?.[index] ?? String(index % classes);
}

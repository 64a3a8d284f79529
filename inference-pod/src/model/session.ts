import { readFile, stat } from 'node:fs/promises';
import { InferenceSession, Tensor as OnnxTensor } from 'onnxruntime-node';
import {
  datatypeOf,
  elementCount,
  onnxTypeOf,
  type Signature,
  type Tensor,
  type TensorData,
  type TensorSignature,
  zeros,
} from '../protocol/datatypes.ts';
import { badRequest, RequestError } from '../protocol/request-error.ts';
import { messageOf } from './error-message.ts';
import { tensorsOfUnknownRank } from './graph.ts';
import { StartupError } from './startup-error.ts';

/** A model that is loaded and can be run, one inference at a time. */
export interface ModelSession {
  readonly signature: Signature;
  /** Outputs that the protocol cannot carry (sequences, maps); they are never computed. */
  readonly omittedOutputs: readonly string[];
  /** Blocks the thread it is called on until the model has answered. */
  run(
    inputs: ReadonlyMap<string, Tensor>,
    outputs: readonly { readonly name: string }[],
  ): Promise<ReadonlyMap<string, Tensor>>;
}

/**
 * Opens a session on a model file and reads its signature.
 *
 * @param threads the threads that one inference uses; onnxruntime's own default is the machine's cores, blind to cgroups
 * @throws StartupError ModelInvalid
 */
export async function openSession(path: string, threads: number): Promise<ModelSession> {
  let session: InferenceSession;
  try {
    session = await InferenceSession.create(path, {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      executionMode: 'sequential',
      // Keeps resident memory near what the model needs after a large request; no measurable cost in speed.
      enableCpuMemArena: false,
      // What goes wrong comes as an error; a log of the library's own would be a text that clients can flood.
      logSeverityLevel: 4,
    });
  } catch (error) {
    throw new StartupError('ModelInvalid', `the model is not an ONNX model that can be loaded: ${reasonOf(error)}`, {
      cause: error,
    });
  }
  const unranked = await unrankedTensors(path, session);
  const inputs = session.inputMetadata.map((metadata) => {
    const signature = readSignature(metadata, unranked);
    if (signature !== undefined) return signature;
    const type = metadata.isTensor ? metadata.type : 'no tensor';
    throw new StartupError('ModelInvalid', `the model's input '${metadata.name}' is ${type}, which cannot be sent`);
  });
  const outputs = session.outputMetadata.flatMap((metadata) => readSignature(metadata, unranked) ?? []);
  if (outputs.length === 0) {
    throw new StartupError(
      'ModelInvalid',
      'the model has no output that is a tensor: use one whose outputs are tensors (scikit-learn: convert without ZipMap)',
    );
  }
  const carried = new Set(outputs.map(({ name }) => name));
  return {
    signature: { inputs, outputs },
    omittedOutputs: session.outputNames.filter((name) => !carried.has(name)),
    run: async (inputs, asked) => {
      const feeds: Record<string, OnnxTensor> = {};
      for (const [name, tensor] of inputs) feeds[name] = toOnnx(tensor);
      const fetches = asked.map(({ name }) => name);
      let results: InferenceSession.ReturnType;
      try {
        results = await session.run(feeds, fetches);
      } catch (error) {
        throw isRefusal(error) ? badRequest(`the model refuses the request: ${messageOf(error)}`) : error;
      }
      return new Map(fetches.map((name) => [name, fromOnnx(name, results[name])]));
    },
  };
}

/**
 * Whether the model could not be run because of what it was given: shapes that do not fit one another, an index that is
 * beyond a table. A kernel that fails otherwise, for want of memory say, is no fault of the request.
 */
function isRefusal(error: unknown): boolean {
  const message = messageOf(error);
  if (/alloc|out of memory|ORT_NOT_IMPLEMENTED/i.test(message)) return false;
  return /Got invalid dimensions|Invalid rank for input|Non-zero status code returned while running|INVALID_ARGUMENT/.test(
    message,
  );
}

/** Zeros for every input: so many in a first dimension that is free, and 1 in others. */
export function zeroInputs({ inputs }: Signature, rows: number): ReadonlyMap<string, Tensor> {
  return new Map(
    inputs.map(({ name, datatype, shape }) => {
      const concrete = shape.map((dimension, axis) => (dimension !== -1 ? dimension : axis === 0 ? rows : 1));
      return [name, { datatype, shape: concrete, data: zeros(datatype, elementCount(concrete)) }];
    }),
  );
}

/**
 * Runs the model once on zeros (free dimensions 1), so that the first request does not pay for lazy initialisation.
 * A model may have good reasons to refuse zeros: that is no failure, and the reason is returned.
 *
 * @throws StartupError ModelInvalid when it fails for any other reason
 */
export async function warmUp(session: ModelSession): Promise<string | undefined> {
  try {
    await session.run(zeroInputs(session.signature, 1), session.signature.outputs);
    return undefined;
  } catch (error) {
    if (error instanceof RequestError) return error.message;
    throw new StartupError('ModelInvalid', `the model fails on its first run: ${messageOf(error)}`, { cause: error });
  }
}

/** Types of ONNX that onnxruntime's binding does not carry, by their numbers in onnx.proto. */
const uncarriedTypes: Readonly<Record<string, string>> = {
  14: 'complex64',
  15: 'complex128',
  16: 'bfloat16',
  17: 'float8e4m3fn',
  18: 'float8e4m3fnuz',
  19: 'float8e5m2',
  20: 'float8e5m2fnuz',
  21: 'uint4',
  22: 'int4',
  23: 'float4e2m1',
};

/** The binding tells a type that it does not carry by its number alone. */
function reasonOf(error: unknown): string {
  const message = messageOf(error);
  const [, number = ''] = /^Unsupported data type: (\d+)$/.exec(message.trim()) ?? [];
  const type = uncarriedTypes[number];
  return type === undefined
    ? message
    : `an input or output is of type ${type}, which cannot be sent: cast it in the model, to float32 for instance`;
}

/** Models above this size are not read a second time. */
const mostReadBytes = 256 * 2 ** 20;

/** The tensors of which onnxruntime tells no dimensions, and the file none either. */
async function unrankedTensors(path: string, session: InferenceSession): Promise<ReadonlySet<string>> {
  const metadata = [...session.inputMetadata, ...session.outputMetadata];
  if (!metadata.some((each) => each.isTensor && each.shape.length === 0)) return new Set();
  if ((await stat(path)).size > mostReadBytes) return new Set();
  return tensorsOfUnknownRank(await readFile(path));
}

function readSignature(
  metadata: InferenceSession.ValueMetadata,
  unranked: ReadonlySet<string>,
): TensorSignature | undefined {
  if (!metadata.isTensor) return undefined;
  const datatype = datatypeOf(metadata.type);
  // A free dimension is a string, its symbol or ''. Dimensions of one symbol need not be equal: exporters reuse names.
  const shape = metadata.shape.map((dimension) => (typeof dimension === 'number' ? dimension : -1));
  if (datatype === undefined) return undefined;
  const isRankUnknown = shape.length === 0 && unranked.has(metadata.name);
  return { name: metadata.name, datatype, shape, ...(isRankUnknown ? { isRankUnknown } : {}) };
}

function toOnnx({ datatype, shape, data }: Tensor): OnnxTensor {
  const tensor = new OnnxTensor(onnxTypeOf(datatype), data, shape);
  // onnxruntime makes a Float16Array of the bits, whose length its own binding then reads as 0 (microsoft/onnxruntime
  // pull request 32323, open at 1.30). It takes the bits as they are, so they are put back in front.
  return datatype === 'FP16' ? Object.defineProperty(tensor, 'data', { value: data }) : tensor;
}

function fromOnnx(name: string, tensor: OnnxTensor | undefined): Tensor {
  const datatype = tensor === undefined ? undefined : datatypeOf(tensor.type);
  if (tensor === undefined || datatype === undefined) {
    throw new Error(`the model gave no tensor that can be sent for its output '${name}'`);
  }
  const data = tensor.data;
  const bits = data instanceof Float16Array ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data;
  return { datatype, shape: tensor.dims, data: bits as TensorData };
}

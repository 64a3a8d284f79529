import type { TensorSignature } from '../protocol/datatypes.ts';
import { addresseeOf } from '../protocol/grpc-inference.ts';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import { serverMetadata } from '../protocol/open-inference.ts';
import { ProtobufReader, ProtobufWriter } from '../protocol/protobuf.ts';
import type { Telemetry } from '../telemetry/metrics.ts';
import {
  type GrpcServiceOptions,
  inferMessage,
  inferOrPass,
  loadedModel,
  mostNameBytes,
  refuseStranger,
} from './grpc-infer.ts';
import type { GrpcCall, GrpcMethod } from './grpc-server.ts';
import { modelConfiguration, modelStatistics, refuseUnknown } from './model-description.ts';

/** The methods of inference.GRPCInferenceService (Open Inference Protocol v2, and what Triton's clients ask beside it). */
export function inferenceMethods(options: GrpcServiceOptions): ReadonlyMap<string, GrpcMethod> {
  const { model, lifecycle, telemetry } = options;
  const infer = (message: Buffer, call: GrpcCall) => {
    const asked = addresseeOf(message);
    refuseStranger(asked, options);
    return inferOrPass('open-inference-grpc', message, asked.version, call, options);
  };
  // A stream stays where it is.
  const inferHere = (message: Buffer, call: GrpcCall) => {
    refuseUnknown(addresseeOf(message), model);
    return inferMessage('open-inference-grpc', message, call, options);
  };
  const named = (answer: () => ProtobufWriter) => (message: Buffer) => {
    refuseUnknown(readNameAndVersion(message), model);
    return answer();
  };
  const unary: Readonly<Record<string, (message: Buffer) => ProtobufWriter>> = {
    ServerLive: () => new ProtobufWriter().number(1, true),
    ServerReady: () => new ProtobufWriter().number(1, lifecycle.isReady),
    ModelReady: named(() => new ProtobufWriter().number(1, lifecycle.isReady)),
    ServerMetadata: () => {
      const writer = new ProtobufWriter().text(1, serverMetadata.name).text(2, serverMetadata.version);
      for (const extension of serverMetadata.extensions) writer.text(3, extension);
      return writer;
    },
    ModelMetadata: named(() => {
      const { signature } = loadedModel(options).scheduler.model;
      const writer = new ProtobufWriter().text(1, model.name).text(2, model.version).text(3, 'onnx_onnxv1');
      for (const input of signature.inputs) writer.message(4, tensorMetadata(input));
      for (const output of signature.outputs) writer.message(5, tensorMetadata(output));
      return writer;
    }),
    ModelConfig: named(() => new ProtobufWriter().message(1, configMessage(model, options))),
    ModelStatistics: (message) => {
      const { name, version } = readNameAndVersion(message);
      if (name !== '') refuseUnknown({ name, version }, model);
      return new ProtobufWriter().message(1, statisticsMessage(model, telemetry));
    },
    RepositoryIndex: () =>
      new ProtobufWriter().message(
        1,
        new ProtobufWriter()
          .text(1, model.name)
          .text(2, model.version)
          .text(3, lifecycle.isReady ? 'READY' : 'UNAVAILABLE'),
      ),
  };
  const path = (method: string) => `/inference.GRPCInferenceService/${method}`;
  return new Map<string, GrpcMethod>([
    ...Object.entries(unary).map(([method, answer]): [string, GrpcMethod] => [
      path(method),
      { isStreaming: false, mostMessageBytes: mostNameBytes, answer: (message) => answer(message).finish() },
    ]),
    [path('ModelInfer'), { isStreaming: false, mostMessageBytes: options.mostMessageBytes, answer: infer }],
    [
      path('ModelStreamInfer'),
      {
        isStreaming: true,
        mostMessageBytes: options.mostMessageBytes,
        // ModelStreamInferResponse {error_message, infer_response}
        answer: async (message, call) => {
          const response = new ProtobufWriter();
          for (const piece of await inferHere(message, call)) response.piece(piece);
          return new ProtobufWriter().message(2, response).finish();
        },
        refusal: (error) => new ProtobufWriter().text(1, error.message).finish(),
      },
    ],
  ]);
}

/** The two first fields of every request that is about one model. */
function readNameAndVersion(message: Buffer): ModelIdentity {
  const reader = new ProtobufReader(message);
  let name = '';
  let version = '';
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (field === 1) name = reader.text();
    else if (field === 2) version = reader.text();
    else reader.skip();
  }
  return { name, version };
}

function tensorMetadata({ name, datatype, shape }: TensorSignature): ProtobufWriter {
  return new ProtobufWriter().text(1, name).text(2, datatype).numbers(3, shape);
}

/** The numbers of the fields in Triton's model_config.proto. */
function configMessage(model: ModelIdentity, { lifecycle }: GrpcServiceOptions): ProtobufWriter {
  const signature = lifecycle.model?.scheduler.model.signature ?? { inputs: [], outputs: [] };
  const config = modelConfiguration(model, signature);
  const writer = new ProtobufWriter().text(1, config.name).text(2, config.platform).text(17, config.backend);
  for (const { name, typeNumber, dims } of config.input) {
    writer.message(5, new ProtobufWriter().text(1, name).number(2, typeNumber).numbers(4, dims));
  }
  for (const { name, typeNumber, dims } of config.output) {
    writer.message(6, new ProtobufWriter().text(1, name).number(2, typeNumber).numbers(3, dims));
  }
  return writer;
}

function statisticsMessage(model: ModelIdentity, telemetry: Telemetry): ProtobufWriter {
  const statistics = modelStatistics(model, telemetry.statistics());
  const duration = ({ count, ns }: { readonly count: number; readonly ns: number }) =>
    new ProtobufWriter().number(1, count).number(2, ns);
  const { success, fail, queue, compute_input, compute_infer, compute_output } = statistics.inference_stats;
  return new ProtobufWriter()
    .text(1, statistics.name)
    .text(2, statistics.version)
    .number(3, statistics.last_inference)
    .number(4, statistics.inference_count)
    .number(5, statistics.execution_count)
    .message(
      6,
      new ProtobufWriter()
        .message(1, duration(success))
        .message(2, duration(fail))
        .message(3, duration(queue))
        .message(4, duration(compute_input))
        .message(5, duration(compute_infer))
        .message(6, duration(compute_output)),
    );
}

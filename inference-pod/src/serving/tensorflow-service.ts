import type { ProtobufWriter } from '../protocol/protobuf.ts';
import {
  isVersion,
  modelStatusMessage,
  predictMetadataMessage,
  readModelSpec,
} from '../protocol/tensorflow-metadata.ts';
import type { Wire } from '../protocol/wires.ts';
import { type GrpcServiceOptions, inferMessage, loadedModel, mostNameBytes } from './grpc-infer.ts';
import type { GrpcMethod } from './grpc-server.ts';
import { refuseUnknown } from './model-description.ts';

/** The methods of TensorFlow Serving's PredictionService and ModelService that are about one model. */
export function tensorflowMethods(options: GrpcServiceOptions): ReadonlyMap<string, GrpcMethod> {
  const { model, lifecycle, mostMessageBytes } = options;
  const refuseOther = (message: Buffer) => {
    const { name, version, label } = readModelSpec(message);
    const asked = version === undefined || isVersion(version, model.version) ? (label ?? '') : version;
    refuseUnknown({ name, version: asked }, model);
  };
  const inference = (wire: Wire): GrpcMethod => ({
    isStreaming: false,
    mostMessageBytes,
    answer(message, call) {
      refuseOther(message);
      return inferMessage(wire, message, call, options);
    },
  });
  const description = (answer: () => ProtobufWriter): GrpcMethod => ({
    isStreaming: false,
    mostMessageBytes: mostNameBytes,
    answer(message) {
      refuseOther(message);
      return answer().finish();
    },
  });
  const prediction = (method: string) => `/tensorflow.serving.PredictionService/${method}`;
  return new Map([
    [prediction('Predict'), inference('predict-grpc')],
    [prediction('Classify'), inference('classify-grpc')],
    [prediction('Regress'), inference('regress-grpc')],
    [
      prediction('GetModelMetadata'),
      description(() => predictMetadataMessage(model, loadedModel(options).scheduler.model.signature)),
    ],
    [
      '/tensorflow.serving.ModelService/GetModelStatus',
      description(() => modelStatusMessage(model, lifecycle.isReady)),
    ],
  ]);
}

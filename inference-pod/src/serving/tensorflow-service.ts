import type { ModelIdentity } from '../protocol/open-inference.ts';
import type { ProtobufWriter } from '../protocol/protobuf.ts';
import {
  isVersion,
  modelStatusMessage,
  predictMetadataMessage,
  readModelSpec,
} from '../protocol/tensorflow-metadata.ts';
import type { Wire } from '../protocol/wires.ts';
import { type GrpcServiceOptions, inferOrPass, loadedModel, mostNameBytes, refuseStranger } from './grpc-infer.ts';
import type { GrpcMethod } from './grpc-server.ts';
import { refuseUnknown } from './model-description.ts';

/** The methods of TensorFlow Serving's PredictionService and ModelService that are about one model. */
export function tensorflowMethods(options: GrpcServiceOptions): ReadonlyMap<string, GrpcMethod> {
  const { model, lifecycle, mostMessageBytes } = options;
  const askedOf = (message: Buffer): ModelIdentity => {
    const { name, version, label = '' } = readModelSpec(message);
    if (version === undefined) return { name, version: label };
    return { name, version: label === '' && isVersion(version, model.version) ? model.version : version };
  };
  const inference = (wire: Wire): GrpcMethod => ({
    isStreaming: false,
    mostMessageBytes,
    answer(message, call) {
      const asked = askedOf(message);
      refuseStranger(asked, options);
      return inferOrPass(wire, message, asked.version, call, options);
    },
  });
  const description = (answer: () => ProtobufWriter): GrpcMethod => ({
    isStreaming: false,
    mostMessageBytes: mostNameBytes,
    answer(message) {
      refuseUnknown(askedOf(message), model);
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

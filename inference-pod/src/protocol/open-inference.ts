import type { Signature, TensorSignature } from './datatypes.ts';

export interface ModelIdentity {
  readonly name: string;
  readonly version: string;
}

/** The answer of `GET /v2`. */
export const serverMetadata = {
  name: 'slipway',
  version: '0.1.0',
  extensions: ['binary_tensor_data', 'classification', 'model_configuration', 'statistics'],
} as const;

/** The answer of `GET /v2/models/NAME`. */
export function modelMetadata(model: ModelIdentity, signature: Signature): object {
  return {
    name: model.name,
    versions: [model.version],
    platform: 'onnx_onnxv1',
    inputs: signature.inputs.map(tensorMetadata),
    outputs: signature.outputs.map(tensorMetadata),
  };
}

/** The protocol has no word for a shape of unknown rank: it is told beside. */
function tensorMetadata({ name, datatype, shape, isRankUnknown }: TensorSignature): object {
  return { name, datatype, shape, ...(isRankUnknown ? { rank: 'unknown' } : {}) };
}

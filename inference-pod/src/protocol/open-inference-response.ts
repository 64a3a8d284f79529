import { writeBinaryTensor } from './binary-tensors.ts';
import { classify } from './classification.ts';
import type { Tensor } from './datatypes.ts';
import { type AnswerBody, appendTensorData, JsonText, tooLarge } from './json-text.ts';
import type { ModelIdentity } from './open-inference.ts';
import type { InferenceRequest } from './open-inference-request.ts';

/** An answer of `POST /v2/models/NAME/infer`. */
export interface EncodedResponse {
  readonly body: AnswerBody;
  /** How much of it is JSON, when tensors in binary form follow it. */
  readonly headerLength: number | undefined;
}

/**
 * Writes the answer, each tensor's data straight from its typed array.
 *
 * @param outputs of the model, by name; those that the request asks for are among them
 * @throws RequestError 400 when it is larger than allowed
 */
export function encodeInferenceResponse(
  model: ModelIdentity,
  request: InferenceRequest,
  outputs: ReadonlyMap<string, Tensor>,
  mostBytes: number,
): EncodedResponse {
  const text = new JsonText(mostBytes);
  const binary: Uint8Array[] = [];
  let binaryBytes = 0;
  text.append(`{"model_name":${quoted(model.name)},"model_version":${quoted(model.version)}`);
  if (request.id !== undefined) text.append(`,"id":${JSON.stringify(request.id)}`);
  text.append(',"outputs":[');
  let separator = '';
  for (const { name, isBinary, classes } of request.outputs) {
    const found = outputs.get(name);
    if (found === undefined) throw new Error(`the model has not computed '${name}'`);
    const tensor = classes === undefined ? found : classify(name, found, classes);
    const head = `${separator}{"name":${quoted(name)},"datatype":"${tensor.datatype}","shape":[${tensor.shape.join(',')}],`;
    separator = ',';
    if (isBinary) {
      const bytes = writeBinaryTensor(tensor);
      binary.push(bytes);
      binaryBytes += bytes.length;
      if (binaryBytes > mostBytes) throw tooLarge(mostBytes);
      text.append(`${head}"parameters":{"binary_data_size":${bytes.length}}}`);
    } else {
      text.append(`${head}"data":`);
      appendTensorData(text, tensor, request.nonFinite);
      text.append('}');
    }
  }
  text.append(']}');
  const json = text.finish();
  if (binary.length === 0) return { body: json, headerLength: undefined };
  const header = typeof json === 'string' ? [Buffer.from(json)] : json;
  return { body: [...header, ...binary], headerLength: header.reduce((sum, { length }) => sum + length, 0) };
}

/** JSON of the names that every answer has: those of the model and of its outputs, which are few. */
const quotedNames = new Map<string, string>();

function quoted(name: string): string {
  const known = quotedNames.get(name);
  if (known !== undefined) return known;
  const text = JSON.stringify(name);
  quotedNames.set(name, text);
  return text;
}

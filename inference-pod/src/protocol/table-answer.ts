import { elementCount, type Tensor } from './datatypes.ts';
import { type AnswerBody, appendNested, JsonText } from './json-text.ts';
import type { InferenceRequest } from './open-inference-request.ts';
import { badRequest } from './request-error.ts';

/**
 * Writes the answer of `POST /invocations`: `predictions` with an object for each row that has every output, as MLflow answers for
 * models of ONNX.
 *
 * @throws RequestError 400 when it is larger than allowed, or the model did not answer row by row
 */
export function encodeTable(
  { outputs: asked, rows = 0 }: InferenceRequest,
  outputs: ReadonlyMap<string, Tensor>,
  mostBytes: number,
): AnswerBody {
  const text = new JsonText(mostBytes);
  const tensors = asked.map(({ name }) => {
    const tensor = outputs.get(name);
    if (tensor === undefined) throw new Error(`the model has not computed '${name}'`);
    if (tensor.shape[0] !== rows)
      throw badRequest(
        `output '${name}' has shape [${tensor.shape.join(', ')}], not one value for each of ${rows} rows`,
      );
    // A column of one is a value.
    const inner = tensor.shape.length === 2 && tensor.shape[1] === 1 ? [] : tensor.shape.slice(1);
    return { key: JSON.stringify(name), tensor, inner, size: elementCount(inner) };
  });
  for (let row = 0; row < rows; row++) {
    text.append(row === 0 ? '{"predictions":[{' : ',{');
    for (const [index, { key, tensor, inner, size }] of tensors.entries()) {
      text.append(`${index === 0 ? '' : ','}${key}:`);
      appendNested(text, tensor, inner, row * size, { isBase64: false, nonFinite: 'null' });
    }
    text.append('}');
  }
  text.append(']}');
  return text.finish();
}

/** An error as MLflow's clients read it. */
export function tableError(status: number, message: string): object {
  return { error_code: status < 500 ? 'BAD_REQUEST' : 'INTERNAL_ERROR', message };
}

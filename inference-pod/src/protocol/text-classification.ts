import { badRequest } from './request-error.ts';
import {
  readFlag,
  readList,
  readText,
  readTextRequest,
  readTexts,
  readWhole,
  refuseLong,
  shortest,
  usageOf,
} from './text-request.ts';

/** A request of `POST /v1/classify`, as Jina's API has it. */
export interface ClassificationRequest {
  readonly input: readonly string[];
  /** What the texts may be; undefined for the labels of the model. */
  readonly labels: readonly string[] | undefined;
  /** Whether several labels may be right, each for itself. */
  readonly isMultiLabel: boolean;
  /** How many of the best are told; undefined for all. */
  readonly top: number | undefined;
}

/** A label and how sure it is. */
export interface Prediction {
  readonly label: string;
  readonly score: number;
}

/** As OpenAI's API has it for texts. */
const mostInputs = 2048;
const mostLabels = 256;
const mostTop = 65_536;

/**
 * Reads the body of `POST /v1/classify`.
 *
 * @param name of the model that is here
 * @param namesLabels whether the request has to say what the texts may be
 * @throws RequestError 400 that names the field and what was expected, 404 for another model
 */
export function decodeClassification(body: Buffer, name: string, namesLabels: boolean): ClassificationRequest {
  let input: readonly string[] | undefined;
  let labels: readonly string[] | undefined;
  let isMultiLabel = false;
  let top: number | undefined;
  readTextRequest(body, name, {
    input: (reader) => {
      input = readTexts(reader, 'input', mostInputs);
    },
    labels: (reader) => {
      labels = readList(reader, 'labels', 'strings', mostLabels, (element) => readText(reader, element));
    },
    multi_label: (reader) => {
      isMultiLabel = readFlag(reader, 'multi_label');
    },
    top_n: (reader) => {
      top = readWhole(reader, 'top_n', mostTop);
    },
  });
  if (input === undefined) throw badRequest("'input' must be a list of strings, or a string: it is missing");
  if (namesLabels && labels === undefined)
    throw badRequest("'labels' must be a list of strings: this model is asked which of them a text is");
  if (!namesLabels && (labels !== undefined || isMultiLabel))
    throw badRequest("'labels' and 'multi_label' are for the task ZeroShot: this model has labels of its own");
  if (new Set(labels).size < (labels?.length ?? 0)) throw badRequest("'labels' has one twice");
  refuseLong('input', input);
  refuseLong('labels', labels ?? []);
  return { input, labels, isMultiLabel, top };
}

/**
 * What `/v1/classify` answers.
 *
 * @param predictions of each text or picture, the best first
 * @param tokens that were read; undefined of pictures
 */
export function encodeClassification(
  name: string,
  predictions: readonly (readonly Prediction[])[],
  tokens: number | undefined,
): string {
  const data = predictions.map((ofText, index) => {
    const [best] = ofText;
    return {
      object: 'classification',
      index,
      prediction: best?.label ?? '',
      score: shortest(best?.score ?? 0),
      predictions: ofText.map(({ label, score }) => ({ label, score: shortest(score) })),
    };
  });
  const usage = tokens === undefined ? {} : { usage: usageOf(tokens) };
  return JSON.stringify({ object: 'list', data, model: name, ...usage });
}

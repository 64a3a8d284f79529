import { jsonContent } from './openapi-content.ts';
import type { TaskWire } from './wires.ts';

/** What of a request and of its answer is particular to a form. */
interface TaskSchema {
  readonly operationId: string;
  readonly summary: string;
  readonly required: readonly string[];
  readonly properties: object;
  readonly example: object;
  /** Bodies of other types than JSON, by type. */
  readonly otherBodies?: object;
  /** The name of the answer's list, and what each of its elements is. */
  readonly list: string;
  readonly element: { readonly required: readonly string[]; readonly properties: object };
}

const text = { type: 'string', minLength: 1 };
const texts = { type: 'array', minItems: 1, maxItems: 2048, items: text };
const tokens = { type: 'array', minItems: 1, items: { type: 'integer', minimum: 0 } };
const index = { type: 'integer' };
const best = { type: 'integer', minimum: 1, description: 'How many of the best are answered; all when absent.' };
const label = { type: 'object', properties: { label: text, score: { type: 'number' } } };

const predictions = {
  required: ['index', 'prediction', 'score', 'predictions'],
  properties: { index, prediction: text, score: { type: 'number' }, predictions: { type: 'array', items: label } },
};
const picture = { type: 'string', contentEncoding: 'base64', description: 'A JPEG, PNG or WebP.' };
const formOf = (fields: object) => ({
  'image/*': { schema: { type: 'string', format: 'binary' } },
  'multipart/form-data': {
    schema: { type: 'object', properties: fields, additionalProperties: { type: 'string', format: 'binary' } },
  },
});
const pictures = {
  operationId: 'classifyPictures',
  summary: 'Labels of pictures',
  required: ['input'],
  properties: {
    input: {
      type: 'array',
      minItems: 1,
      maxItems: 64,
      items: { anyOf: [picture, { type: 'object', required: ['image'], properties: { image: picture } }] },
    },
    top_n: { ...best, default: 5 },
  },
  // One pixel.
  example: {
    input: ['iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='],
  },
  otherBodies: formOf({ model: text, top_n: best }),
  list: 'data',
  element: predictions,
};

const number = { type: 'number' };
const threshold = {
  type: 'number',
  minimum: 0,
  maximum: 1,
  default: 0.5,
  description: 'What is not surer is left out.',
};
const corners = ['xmin', 'ymin', 'xmax', 'ymax'];
const detection = {
  type: 'object',
  required: ['label', 'score', 'box'],
  properties: {
    label: text,
    score: number,
    box: { type: 'object', required: corners, properties: Object.fromEntries(corners.map((edge) => [edge, number])) },
  },
};

const entity = {
  type: 'object',
  required: ['label', 'text', 'start', 'end', 'score'],
  properties: { label: text, text, start: index, end: index, score: number },
};

/** Pictures are sent in the same forms, whatever is asked of them. */
const schemas: Readonly<Record<TaskWire | 'detections', TaskSchema>> = {
  detections: {
    ...pictures,
    operationId: 'detect',
    summary: 'What is in pictures, and where',
    otherBodies: formOf({ model: text, threshold, top_n: best }),
    properties: {
      input: pictures.properties.input,
      threshold,
      top_n: best,
    },
    element: {
      required: ['index', 'width', 'height', 'detections'],
      properties: { index, width: index, height: index, detections: { type: 'array', items: detection } },
    },
  },
  pictures,
  picture: pictures,
  'picture-form': pictures,
  embeddings: {
    operationId: 'embed',
    summary: "Vectors of texts, as OpenAI's API has them",
    required: ['input'],
    properties: {
      input: { anyOf: [text, tokens, { ...texts, items: { anyOf: [text, tokens] } }] },
      encoding_format: { enum: ['float', 'base64'], default: 'float' },
      dimensions: { type: 'integer', minimum: 1, description: 'How many of the first are answered.' },
    },
    example: { input: ['a text'] },
    list: 'data',
    element: {
      required: ['index', 'embedding'],
      properties: { index, embedding: { anyOf: [{ type: 'array', items: { type: 'number' } }, { type: 'string' }] } },
    },
  },
  'text-classification': {
    operationId: 'classify',
    summary: "Labels of texts, as Jina's API has them",
    required: ['input'],
    properties: {
      input: { anyOf: [text, texts] },
      labels: { ...texts, maxItems: 256, description: 'What the texts may be: for the task ZeroShot.' },
      multi_label: { type: 'boolean', description: 'Whether several labels may be right: for the task ZeroShot.' },
      top_n: best,
    },
    example: { input: ['a text'] },
    list: 'data',
    element: predictions,
  },
  entities: {
    operationId: 'findEntities',
    summary: 'What texts name, and where',
    required: ['input'],
    properties: { input: { anyOf: [text, texts] }, threshold: { ...threshold, default: 0 } },
    example: { input: ['a text'] },
    list: 'data',
    element: {
      required: ['index', 'entities'],
      properties: { index, entities: { type: 'array', items: entity } },
    },
  },
  rerank: {
    operationId: 'rerank',
    summary: "How well documents answer a query, as Jina's and Cohere's APIs have it",
    required: ['query', 'documents'],
    properties: {
      query: text,
      documents: {
        ...texts,
        items: { anyOf: [text, { type: 'object', required: ['text'], properties: { text } }] },
      },
      top_n: best,
      return_documents: { type: 'boolean', default: false },
    },
    example: { query: 'a question', documents: ['a text', 'another one'] },
    list: 'results',
    element: {
      required: ['index', 'relevance_score'],
      properties: { index, relevance_score: { type: 'number' } },
    },
  },
};

const errorSchema = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['message', 'type'],
      properties: { message: { type: 'string' }, type: { type: 'string' } },
    },
  },
};

/** The operation that takes requests in the form of a task. */
export function taskOperation(wire: TaskWire | 'detections', name: string): object {
  const { operationId, summary, required, properties, example, otherBodies, list, element } = schemas[wire];
  const model = { const: name };
  const request = { type: 'object', required: ['model', ...required], properties: { model, ...properties } };
  const answer = {
    type: 'object',
    required: ['object', 'model', list],
    properties: { object: { const: 'list' }, model, [list]: { type: 'array', items: { type: 'object', ...element } } },
  };
  const refused = { description: 'Why not.', ...jsonContent(errorSchema) };
  return {
    operationId,
    summary,
    requestBody: {
      required: true,
      content: { ...jsonContent(request, { model: name, ...example }).content, ...otherBodies },
    },
    responses: {
      200: { description: 'What was asked for.', ...jsonContent(answer) },
      ...Object.fromEntries([400, 404, 413, 503, 504].map((status) => [status, refused])),
    },
  };
}

import type { IncomingMessage } from 'node:http';
import { detectionPath } from '../protocol/detections.ts';
import type { AnyWire } from '../protocol/wires.ts';
import type { Task } from '../tasks/task.ts';

/** Where requests in the form of a task are sent, and what their bodies may be. */
export interface TaskRoute {
  readonly paths: readonly [string, ...string[]];
  readonly wire: AnyWire;
  /** Of bodies of other types than the usual JSON. */
  readonly wiresByType?: readonly (readonly [RegExp, AnyWire])[];
}

const pictures: Omit<TaskRoute, 'paths'> = {
  wire: 'pictures',
  wiresByType: [
    [/^(image\/[\w.+-]+|application\/octet-stream)$/, 'picture'],
    [/^multipart\/form-data$/, 'picture-form'],
  ],
};

/** Cohere's newer clients ask at another place than Jina's. */
export const taskRoutes: Readonly<Record<Task['kind'], TaskRoute>> = {
  TextEmbedding: { wire: 'embeddings', paths: ['/v1/embeddings'] },
  TextClassification: { wire: 'text-classification', paths: ['/v1/classify'] },
  TokenClassification: { wire: 'entities', paths: ['/v1/entities'] },
  ZeroShot: { wire: 'text-classification', paths: ['/v1/classify'] },
  Rerank: { wire: 'rerank', paths: ['/v1/rerank', '/v2/rerank'] },
  ImageClassification: { ...pictures, paths: ['/v1/classify'] },
  ObjectDetection: { ...pictures, paths: [detectionPath] },
  Tabular: { paths: ['/invocations'], wire: 'table', wiresByType: [[/^(text|application)\/csv$/, 'table-csv']] },
};

/** The form of a request's body. */
export function wireOf({ wire, wiresByType = [] }: TaskRoute, { headers }: IncomingMessage): AnyWire {
  const [type = ''] = (headers['content-type'] ?? '').split(';');
  const [, ofType = wire] = wiresByType.find(([pattern]) => pattern.test(type.trim().toLowerCase())) ?? [];
  return ofType;
}

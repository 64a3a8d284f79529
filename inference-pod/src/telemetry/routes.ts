/** The routes that requests are counted under: a path that a client made up never becomes a label. */
export const requestRoutes = [
  '/',
  '/page.css',
  '/page.js',
  '/openapi.json',
  '/v2',
  '/v2/health/live',
  '/v2/health/ready',
  '/v2/models/:name',
  '/v2/models/:name/ready',
  '/v2/models/:name/infer',
  '/v2/models/:name/versions/:version',
  '/v2/models/:name/versions/:version/ready',
  '/v2/models/:name/versions/:version/infer',
  '/v2/models/:name/config',
  '/v2/models/:name/stats',
  '/v2/models/:name/versions/:version/config',
  '/v2/models/:name/versions/:version/stats',
  '/v2/models/stats',
  '/v2/repository/index',
  '/v1/classify',
  '/v1/detect',
  '/v1/embeddings',
  '/v1/entities',
  '/v1/rerank',
  '/v2/rerank',
  '/invocations',
  '/predict',
  '/v1/models',
  '/v1/models/:name',
  '/v1/models/:name/metadata',
  '/v1/models/:name:predict',
  '/v1/models/:name:classify',
  '/v1/models/:name:regress',
  '/v1/models/:name/versions/:version',
  '/v1/models/:name/versions/:version/metadata',
  '/v1/models/:name/versions/:version:predict',
  '/v1/models/:name/versions/:version:classify',
  '/v1/models/:name/versions/:version:regress',
  '/inference.GRPCInferenceService/ModelInfer',
  '/inference.GRPCInferenceService/ModelStreamInfer',
  '/inference.GRPCInferenceService',
  '/tensorflow.serving.PredictionService/Predict',
  '/tensorflow.serving.PredictionService/Classify',
  '/tensorflow.serving.PredictionService/Regress',
  '/tensorflow.serving.PredictionService',
  '/tensorflow.serving.ModelService',
  '/grpc.health.v1.Health',
  '/grpc.reflection.v1.ServerReflection',
  '/grpc.reflection.v1alpha.ServerReflection',
  'unknown',
  /** What was no HTTP, or never a whole request. */
  'malformed',
] as const;

export type RequestRoute = (typeof requestRoutes)[number];

/** Those that ask for an inference, and what may have been meant to. */
const inferenceRoutes: ReadonlySet<RequestRoute> = new Set(
  requestRoutes.filter((route) =>
    /(infer|embeddings|entities|rerank|invocations|classify|detect|[:/]predict|:regress|\/(\w*Infer|Predict|Classify|Regress)|^malformed)$/.test(
      route,
    ),
  ),
);

export function isInference(route: RequestRoute): boolean {
  return inferenceRoutes.has(route);
}

const known: ReadonlySet<string> = new Set(requestRoutes);

function isKnown(route: string): route is RequestRoute {
  return known.has(route);
}

/** A request's target without what may be secret: its query, and whoever stands before the host of a whole URL. */
export function pathOf(target: string): string {
  return target.replace(/[?#].*$/s, '').replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]*/i, '');
}

/** The route of a request's target, whoever's model it names. */
export function routeOf(url: string): RequestRoute {
  const path = url.replace(/[?#].*$/s, '');
  if (path === '/v2/models/stats') return path;
  const route = path
    .replace(/^(\/v[12]\/models)\/[^/:]+/, '$1/:name')
    .replace(/^(\/v[12]\/models\/:name)\/(?:versions|labels)\/[^/:]+/, '$1/versions/:version');
  return isKnown(route) ? route : 'unknown';
}

/** The route of a method of gRPC: inferences by method, others by service. */
export function grpcRouteOf(path: string): RequestRoute {
  if (isKnown(path)) return path;
  const service = path.slice(0, path.lastIndexOf('/'));
  return isKnown(service) ? service : 'unknown';
}

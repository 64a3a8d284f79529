/** The routes that requests are counted under: a path that a client made up never becomes a label. */
export const requestRoutes = [
  '/v2',
  '/v2/health/live',
  '/v2/health/ready',
  '/v2/models/:name',
  '/v2/models/:name/ready',
  '/v2/models/:name/infer',
  '/v2/models/:name/versions/:version',
  '/v2/models/:name/versions/:version/ready',
  '/v2/models/:name/versions/:version/infer',
  'unknown',
  /** What was no HTTP, or never a whole request. */
  'malformed',
] as const;

export type RequestRoute = (typeof requestRoutes)[number];

const known: ReadonlySet<string> = new Set(requestRoutes);

function isKnown(route: string): route is RequestRoute {
  return known.has(route);
}

/** The route of a request's target, whoever's model it names. */
export function routeOf(url: string): RequestRoute {
  const path = url.replace(/[?#].*$/s, '');
  const route = path
    .replace(/^\/v2\/models\/[^/]+/, '/v2/models/:name')
    .replace(/^(\/v2\/models\/:name\/versions)\/[^/]+/, '$1/:version');
  return isKnown(route) ? route : 'unknown';
}

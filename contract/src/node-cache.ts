/**
 * How pods ask the cache of their node for a model that another pod there has fetched. Both names are in templates that live for years, so
 * they never change.
 */
export const nodeCache = {
  /** The Service; kube-proxy leads it to the cache on the node of who asks. */
  url: 'http://slipway-node-cache.slipway-system.svc:8090',
  /** Whom tokens of service accounts are for by which pods say of which namespace they are; the API server takes none of these. */
  audience: 'slipway-node-cache',
} as const;

/** A model, by its digest: GET, HEAD and PUT of a bundle. */
export const cachedModelPath = (sha256: string) => `/v1/models/${sha256}`;

/** The ports of a pod. They are in templates that live for years, and in Services, so they never change. */
export const ports = { serving: 8080, grpc: 9000, control: 9090 } as const;

/** Routes that the kubelet and the operator call. */
export const routes = {
  live: '/v2/health/live',
  ready: '/v2/health/ready',
  /** On the control port: which model this pod serves, as a ModelReport. */
  model: '/model',
  /** On the control port: how far the pod is with loading its model, as a LoadingProgress; 404 once it is loaded. */
  loading: '/loading',
  /** On the control port: the pod link. */
  link: '/link',
  metrics: '/metrics',
} as const;

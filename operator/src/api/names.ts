/** Names that are public: other tools and stored objects rely on them, so none of them ever changes. */

export const group = 'serving.slipway.dev';
export const apiVersion = 'serving.slipway.dev/v1alpha1';

export const labels = {
  modelDeployment: 'serving.slipway.dev/model-deployment',
  track: 'serving.slipway.dev/track',
  name: 'app.kubernetes.io/name',
  instance: 'app.kubernetes.io/instance',
  version: 'app.kubernetes.io/version',
  managedBy: 'app.kubernetes.io/managed-by',
  /** On a pod: the version of signed tables that its image obeys; absent where that is not known. */
  takesTables: 'serving.slipway.dev/takes-tables',
} as const;

export const annotations = {
  /** On a pod template: the name of the revision that it is. */
  revision: 'serving.slipway.dev/revision',
  /** On a ControllerRevision: since when the Deployment has been, or was, complete on it. */
  healthySince: 'serving.slipway.dev/healthy-since',
  /** On a ControllerRevision: the signature of its model, as JSON, once a pod has told it. */
  signature: 'serving.slipway.dev/signature',
  /** On a ControllerRevision: what the URI of its model has led to, where that may move, once a pod has told it. */
  resolvedUri: 'serving.slipway.dev/resolved-uri',
  /** On a Deployment: what `kubectl rollout history` shows. */
  changeCause: 'kubernetes.io/change-cause',
  /** On a pod template: written by `kubectl rollout restart`, and never by the operator. */
  restartedAt: 'kubectl.kubernetes.io/restartedAt',
  /** On a ModelDeployment: `REVISION` or `REVISION@ANYTHING` tries a revision again that was rolled back. */
  retry: 'serving.slipway.dev/retry',
  /** On a ModelDeployment, each `REVISION` or `REVISION@ANYTHING`: what somebody asks of the canary of that revision. */
  promote: 'serving.slipway.dev/promote',
  abort: 'serving.slipway.dev/abort',
  pause: 'serving.slipway.dev/pause',
  resume: 'serving.slipway.dev/resume',
} as const;

export const fieldManager = 'slipway';

export const managedBy = 'slipway';
export const modelContainer = 'model';
export const handlerContainer = 'handler';
export const servicePort = { name: 'http', port: 80 } as const;
export const lease = { name: 'slipway-operator', namespace: 'slipway-system' } as const;

/** The label selector of everything that belongs to some ModelDeployment. */
export const ownedSelector = labels.modelDeployment;

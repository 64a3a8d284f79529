/**
 * How the operator configures the pod. It writes these names into pod templates, which are kept for as long as a revision
 * lives, so a name here never changes its meaning.
 */

/** The environment variables that configure the pod; its main.ts has an option for each. */
export const environment = {
  modelName: 'SLIPWAY_MODEL_NAME',
  modelVersion: 'SLIPWAY_MODEL_VERSION',
  modelUri: 'SLIPWAY_MODEL_URI',
  /** Where the model is in the archive that its URI names. */
  modelArchivePath: 'SLIPWAY_MODEL_ARCHIVE_PATH',
  /** With commas between. */
  operatorDomains: 'SLIPWAY_OPERATOR_DOMAINS',
  modelSha256: 'SLIPWAY_MODEL_SHA256',
  /** The public key, in PEM, that has to have signed the model, and the name of the signature's file beside it. */
  modelSignatureKey: 'SLIPWAY_MODEL_SIGNATURE_KEY',
  /** Who has to have signed it with a certificate: a SignerIdentity as JSON. */
  modelSignatureIdentity: 'SLIPWAY_MODEL_SIGNATURE_IDENTITY',
  modelSignatureFile: 'SLIPWAY_MODEL_SIGNATURE_FILE',
  modelMaxBytes: 'SLIPWAY_MODEL_MAX_BYTES',
  /** What the model is used for beside its tensors, and how. */
  task: 'SLIPWAY_TASK',
  taskMaxTokens: 'SLIPWAY_TASK_MAX_TOKENS',
  taskPooling: 'SLIPWAY_TASK_POOLING',
  taskNormalization: 'SLIPWAY_TASK_NORMALIZATION',
  taskScoring: 'SLIPWAY_TASK_SCORING',
  taskAggregation: 'SLIPWAY_TASK_AGGREGATION',
  taskHypothesis: 'SLIPWAY_TASK_HYPOTHESIS',
  taskColumns: 'SLIPWAY_TASK_COLUMNS',
  taskMaxPixels: 'SLIPWAY_TASK_MAX_PIXELS',
  /** Hosts that pictures may be fetched from, with commas between. */
  taskPictureHosts: 'SLIPWAY_TASK_PICTURE_HOSTS',
  /** Whether the module handler.mjs beside the model is used: Enabled or Disabled; what it reads beside it, and the models that it runs, with commas between. */
  handler: 'SLIPWAY_HANDLER',
  handlerFiles: 'SLIPWAY_HANDLER_FILES',
  handlerModels: 'SLIPWAY_HANDLER_MODELS',
  handlerTimeout: 'SLIPWAY_HANDLER_TIMEOUT_MILLISECONDS',
  /** Where the container listens that the handler runs in; it runs in that of the model where this is absent. */
  handlerSocket: 'SLIPWAY_HANDLER_SOCKET',
  revision: 'SLIPWAY_REVISION',
  threads: 'SLIPWAY_THREADS',
  port: 'SLIPWAY_PORT',
  grpcPort: 'SLIPWAY_GRPC_PORT',
  controlPort: 'SLIPWAY_CONTROL_PORT',
  sourceCheckSeconds: 'SLIPWAY_SOURCE_CHECK_SECONDS',
  drainSeconds: 'SLIPWAY_DRAIN_SECONDS',
  maxInFlight: 'SLIPWAY_MAX_IN_FLIGHT',
  maxBodyBytes: 'SLIPWAY_MAX_BODY_BYTES',
  maxAnswerBytes: 'SLIPWAY_MAX_ANSWER_BYTES',
  requestTimeout: 'SLIPWAY_REQUEST_TIMEOUT_MILLISECONDS',
  instances: 'SLIPWAY_INSTANCES',
  batchMaxSize: 'SLIPWAY_BATCH_MAX_SIZE',
  batchMaxDelayMilliseconds: 'SLIPWAY_BATCH_MAX_DELAY_MILLISECONDS',
  fetchTimeout: 'SLIPWAY_FETCH_TIMEOUT_SECONDS',
  accessLogPercent: 'SLIPWAY_ACCESS_LOG_PERCENT',
  /** Whether people are given a page at the root: Enabled or Disabled. */
  page: 'SLIPWAY_PAGE',
  /** A file of requests with the answers that are expected, and its digest. */
  goldenSet: 'SLIPWAY_GOLDEN_SET',
  goldenSetSha256: 'SLIPWAY_GOLDEN_SET_SHA256',
  workDirectory: 'SLIPWAY_WORK_DIRECTORY',
  mountDirectory: 'SLIPWAY_MOUNT_DIRECTORY',
  credentialsDirectory: 'SLIPWAY_CREDENTIALS_DIRECTORY',
  /** The cache of the node, and the file with the token that it takes. */
  nodeCacheUrl: 'SLIPWAY_NODE_CACHE_URL',
  nodeCacheTokenFile: 'SLIPWAY_NODE_CACHE_TOKEN_FILE',
  terminationLog: 'SLIPWAY_TERMINATION_LOG',
  /** The pod's own identity, which tables are addressed to. */
  podUid: 'SLIPWAY_POD_UID',
  podName: 'SLIPWAY_POD_NAME',
  podNamespace: 'SLIPWAY_POD_NAMESPACE',
  linkDirectory: 'SLIPWAY_LINK_DIRECTORY',
  /** '1': the pod ends once it has told the operator which model it has loaded. */
  preflight: 'SLIPWAY_PREFLIGHT',
  /** '1': the pod ends once the cache of its node has the model. */
  prefetch: 'SLIPWAY_PREFETCH',
  logLevel: 'SLIPWAY_LOG_LEVEL',
} as const;

export const paths = {
  /** Writable; the verified copy of the model is kept here. */
  workDirectory: '/model',
  /** Where the claim of a pvc:// model, the ConfigMap of a configmap:// one, or the image of an image:// one is mounted. */
  mountDirectory: '/mnt/model',
  /** Where the Secret with the credentials for the model's store is mounted. */
  credentialsDirectory: '/etc/slipway/credentials',
  terminationLog: '/dev/termination-log',
  /** Where the ConfigMap NAME-link is mounted, and the Secret NAME-tls, if they are there. */
  linkDirectory: '/etc/slipway/link',
  tlsDirectory: '/etc/slipway/tls',
  /** Of the container that a handler runs in, on a volume that it shares with that of the model. */
  handlerDirectory: '/run/slipway/handler',
  handlerSocket: '/run/slipway/handler/socket',
  /** Where the token for the cache of the node is mounted. */
  nodeCacheDirectory: '/etc/slipway/node-cache',
  /** Where the ConfigMap of the golden set is mounted. */
  goldenDirectory: '/etc/slipway/golden',
} as const;

export const defaults = {
  threads: 1,
  /** Six hours: registries count who asks. */
  sourceCheckSeconds: 21_600,
  drainSeconds: 10,
  maxInFlight: 256,
  requestTimeoutMilliseconds: 30_000,
  instances: 1,
  accessLogPercent: 0,
  fetchTimeoutSeconds: 3600,
  maxModelBytes: 2 * 1024 * 1024 * 1024,
  /** Of a picture: as many as cameras of phones take, and 75 MB in memory. */
  maxPixels: 25_000_000,
  /** Of one call of a handler. */
  handlerTimeoutMilliseconds: 10_000,
} as const;

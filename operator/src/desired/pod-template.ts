import type { IContainer, IPodSpec, IVolume } from 'kubernetes-models/v1';
import { linkVersion } from '../../../contract/src/link.ts';
import { knownModelUri } from '../../../contract/src/model-uri.ts';
import { nodeCache } from '../../../contract/src/node-cache.ts';
import { ports, routes } from '../../../contract/src/ports.ts';
import { defaults, environment, paths } from '../../../contract/src/settings.ts';
import { type ModelDeployment, modelNameOf } from '../api/model-deployment.ts';
import { annotations, handlerContainer, labels, modelContainer } from '../api/names.ts';
import type { PodTemplate } from './children.ts';
import { environmentValue } from './environment-value.ts';
import { identityLabels, linkName, stableSelector } from './metadata.ts';
import { parseQuantity } from './quantity.ts';

/** What was requested for a model whose spec requests nothing. */
const defaultRequests = { cpu: '100m', memory: '256Mi' } as const;

/** Enough to withdraw the endpoint (drainSeconds), finish what was accepted, and end. */
const terminationGraceSeconds = 60;
/** What of it is left for the end when a request takes all the time that it may. */
const endingSeconds = 10;

function terminationGrace({ spec }: ModelDeployment): number {
  const requestSeconds = Math.ceil((spec.runtime?.requestTimeoutMilliseconds ?? 0) / 1000);
  return Math.max(terminationGraceSeconds, defaults.drainSeconds + requestSeconds + endingSeconds);
}

/**
 * Renders what a pod of a revision runs, whole: everything that brings the model back is in it, and every default of
 * the API server, so that a rendered template equals the stored one.
 *
 * @param revision the revision's name
 * @param defaultImage the operator's inference image, an immutable reference
 */
export function renderPodTemplate(model: ModelDeployment, revision: string, defaultImage: string): PodTemplate {
  const { pod = {} } = model.spec;
  return {
    metadata: {
      labels: {
        ...pod.labels,
        ...identityLabels(model),
        ...stableSelector(model.metadata.name),
        [labels.version]: model.spec.model.version,
        ...abilities(model, defaultImage),
      },
      annotations: { ...pod.annotations, [annotations.revision]: revision },
    },
    spec: renderPodSpec(model, revision, defaultImage),
  };
}

function renderPodSpec(model: ModelDeployment, revision: string, defaultImage: string): IPodSpec {
  const { pod = {} } = model.spec;
  const {
    nodeSelector,
    tolerations,
    topologySpreadConstraints,
    serviceAccountName,
    priorityClassName,
    imagePullSecrets,
  } = pod;
  return {
    ...(hasHandlerContainer(model) ? { initContainers: [renderHandlerContainer(model, defaultImage)] } : {}),
    containers: [renderContainer(model, revision, defaultImage)],
    volumes: renderVolumes(model),
    restartPolicy: 'Always',
    terminationGracePeriodSeconds: terminationGrace(model),
    dnsPolicy: 'ClusterFirst',
    schedulerName: 'default-scheduler',
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    securityContext: {
      runAsNonRoot: true,
      fsGroup: 65532,
      fsGroupChangePolicy: 'OnRootMismatch',
      seccompProfile: { type: 'RuntimeDefault' },
    },
    ...(isEmpty(nodeSelector) ? {} : { nodeSelector: { ...nodeSelector } }),
    ...(isEmpty(tolerations) ? {} : { tolerations: tolerations.map((toleration) => ({ ...toleration })) }),
    ...(isEmpty(topologySpreadConstraints)
      ? {}
      : {
          topologySpreadConstraints: topologySpreadConstraints.map((constraint) => ({
            ...constraint,
            labelSelector: { matchLabels: stableSelector(model.metadata.name) },
            // Pods of the revision that goes do not count against those of the one that comes.
            matchLabelKeys: ['pod-template-hash'],
          })),
        }),
    ...(serviceAccountName === undefined ? {} : { serviceAccountName, serviceAccount: serviceAccountName }),
    ...(priorityClassName === undefined ? {} : { priorityClassName }),
    ...(isEmpty(imagePullSecrets) ? {} : { imagePullSecrets: imagePullSecrets.map((secret) => ({ ...secret })) }),
  };
}

/** The API server leaves out what holds nothing, and it means the same as what is not there. */
function isEmpty(value: object | undefined): value is undefined {
  return value === undefined || Object.keys(value).length === 0;
}

function renderContainer(model: ModelDeployment, revision: string, defaultImage: string): IContainer {
  const { resources = {}, runtime = {}, pod = {} } = model.spec;
  const { limits } = resources;
  return {
    name: modelContainer,
    image: runtime.image ?? defaultImage,
    imagePullPolicy: 'IfNotPresent',
    env: [...renderSettings(model, revision), ...identity.map(fromField), ...(pod.env ?? []).map(renderVariable)],
    ports: [
      { name: 'http', containerPort: ports.serving, protocol: 'TCP' },
      { name: 'grpc', containerPort: ports.grpc, protocol: 'TCP' },
      { name: 'control', containerPort: ports.control, protocol: 'TCP' },
    ],
    resources: {
      requests: { ...defaultsWithin(limits), ...resources.requests },
      ...(limits === undefined ? {} : { limits: { ...limits } }),
    },
    readinessProbe: probe(routes.ready, { periodSeconds: 2, failureThreshold: 2 }),
    livenessProbe: probe(routes.live, { periodSeconds: 10, failureThreshold: 6 }),
    volumeMounts: [
      { name: 'work', mountPath: paths.workDirectory },
      { name: 'link', mountPath: paths.linkDirectory, readOnly: true },
      { name: 'tls', mountPath: paths.tlsDirectory, readOnly: true },
      ...(sourceVolume(model) === undefined
        ? []
        : [{ name: 'source', mountPath: paths.mountDirectory, readOnly: true }]),
      ...(model.spec.model.secretName === undefined
        ? []
        : [{ name: 'credentials', mountPath: paths.credentialsDirectory, readOnly: true }]),
      ...(model.spec.validation?.goldenSet === undefined
        ? []
        : [{ name: 'golden', mountPath: paths.goldenDirectory, readOnly: true }]),
      ...(hasHandlerContainer(model) ? [handlerMount] : []),
      ...(usesNodeCache(model) ? [{ name: 'node-cache', mountPath: paths.nodeCacheDirectory, readOnly: true }] : []),
    ],
    securityContext: containerSecurity,
    terminationMessagePath: paths.terminationLog,
    terminationMessagePolicy: 'FallbackToLogsOnError',
  };
}

const containerSecurity = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  readOnlyRootFilesystem: true,
};

const handlerMount = { name: 'handler', mountPath: paths.handlerDirectory };
const handlerRequests = { cpu: '50m', memory: '192Mi' } as const;

function hasHandlerContainer({ spec }: ModelDeployment): boolean {
  return spec.runtime?.handler?.isolation === 'Container';
}

/** One that starts before that of the model and ends after it, and has nothing of it but its files, to read. */
function renderHandlerContainer({ spec }: ModelDeployment, defaultImage: string): IContainer {
  const { requests, limits } = spec.runtime?.handler?.resources ?? {};
  return {
    name: handlerContainer,
    image: spec.runtime?.image ?? defaultImage,
    imagePullPolicy: 'IfNotPresent',
    args: ['--max-semi-space-size=4', '--single-threaded-gc', 'inference-pod/src/handler-container.js'],
    restartPolicy: 'Always',
    resources: {
      requests: { ...defaultsWithin(limits, handlerRequests), ...requests },
      ...(limits === undefined ? {} : { limits: { ...limits } }),
    },
    volumeMounts: [{ name: 'work', mountPath: paths.workDirectory, readOnly: true }, handlerMount],
    securityContext: containerSecurity,
    terminationMessagePath: paths.terminationLog,
    terminationMessagePolicy: 'FallbackToLogsOnError',
  };
}

type ResourceAmounts = Readonly<Record<string, string | number>>;

/** The default requests, none of them above its limit. */
function defaultsWithin(
  limits: ResourceAmounts | undefined,
  requests: ResourceAmounts = defaultRequests,
): ResourceAmounts {
  return Object.fromEntries(
    Object.entries(requests).map(([resource, request]) => {
      const limit = limits?.[resource];
      const above = limit !== undefined && (parseQuantity(request) ?? 0) > (parseQuantity(limit) ?? 0);
      return [resource, above ? limit : request];
    }),
  );
}

function renderSettings(model: ModelDeployment, revision: string) {
  const { version, uri, archivePath, sha256, signature, maxBytes, operatorDomains } = model.spec.model;
  const goldenSet = model.spec.validation?.goldenSet;
  const bytes =
    maxBytes === undefined ? defaults.maxModelBytes : Math.floor(parseQuantity(maxBytes) ?? defaults.maxModelBytes);
  const settings: readonly (readonly [string, string | undefined])[] = [
    [environment.modelName, modelNameOf(model)],
    [environment.modelVersion, version],
    [environment.modelUri, uri],
    [environment.modelArchivePath, archivePath],
    [environment.operatorDomains, operatorDomains?.join(',')],
    [environment.modelSha256, sha256],
    [environment.modelSignatureKey, signature?.publicKey],
    [environment.modelSignatureIdentity, identityOf(signature)],
    [environment.modelSignatureFile, signature?.file],
    [environment.modelMaxBytes, String(bytes)],
    [environment.revision, revision],
    [environment.threads, String(threadsOf(model))],
    [environment.instances, textOf(model.spec.runtime?.instances)],
    [environment.batchMaxSize, textOf(model.spec.runtime?.batching?.maxSize)],
    [environment.batchMaxDelayMilliseconds, textOf(model.spec.runtime?.batching?.maxDelayMilliseconds)],
    [environment.maxInFlight, textOf(model.spec.runtime?.maxInFlight)],
    [environment.requestTimeout, textOf(model.spec.runtime?.requestTimeoutMilliseconds)],
    [environment.accessLogPercent, textOf(model.spec.runtime?.accessLogPercent)],
    [environment.page, model.spec.runtime?.page],
    [environment.task, model.spec.runtime?.task],
    ...taskSettings(model.spec.runtime ?? {}),
    ...handlerSettings(model.spec.runtime?.handler),
    [environment.goldenSet, goldenSet === undefined ? undefined : `${paths.goldenDirectory}/${goldenSet.key}`],
    [environment.goldenSetSha256, goldenSet?.sha256],
    [environment.nodeCacheUrl, usesNodeCache(model) ? nodeCache.url : undefined],
    [environment.workDirectory, paths.workDirectory],
    [environment.terminationLog, paths.terminationLog],
  ];
  return settings.flatMap(([name, value]) => (value === undefined ? [] : [{ name, value: environmentValue(value) }]));
}

/** In one order of its fields, whatever that of the spec is. */
function identityOf(signature: ModelDeployment['spec']['model']['signature']): string | undefined {
  if (signature?.identity === undefined) return undefined;
  const { subject, issuer, authorities } = signature.identity;
  return JSON.stringify({ subject, issuer, authorities } satisfies Record<string, unknown>);
}

/** Each task has options of its own: those of others are refused at the API server. */
function taskSettings(runtime: NonNullable<ModelDeployment['spec']['runtime']>) {
  const { embedding, classification, detection, entities, zeroShot, rerank, tabular } = runtime;
  const { maxTokens } = embedding ?? classification ?? entities ?? zeroShot ?? rerank ?? {};
  return [
    [environment.taskMaxTokens, textOf(maxTokens)],
    [environment.taskMaxPixels, textOf((classification ?? detection)?.maxPixels)],
    [environment.taskPictureHosts, (classification ?? detection)?.pictureHosts?.join(',')],
    [environment.taskPooling, embedding?.pooling],
    [environment.taskNormalization, embedding?.normalization],
    [environment.taskScoring, classification?.scoring ?? rerank?.scoring],
    [environment.taskAggregation, entities?.aggregation],
    [environment.taskHypothesis, zeroShot?.hypothesis],
    [environment.taskColumns, tabular === undefined ? undefined : JSON.stringify(tabular.columns)],
  ] as const;
}

function handlerSettings(handler: NonNullable<ModelDeployment['spec']['runtime']>['handler']) {
  if (handler === undefined) return [];
  return [
    [environment.handler, 'Enabled'],
    [environment.handlerFiles, handler.files?.join(',')],
    [environment.handlerModels, handler.models?.join(',')],
    [environment.handlerTimeout, textOf(handler.timeoutMilliseconds)],
    [environment.handlerSocket, handler.isolation === 'Container' ? paths.handlerSocket : undefined],
  ] as const;
}

/** What the user has not set is the image's own default, so that templates from before the setting stay as they are. */
function textOf(setting: number | undefined): string | undefined {
  return setting === undefined ? undefined : String(setting);
}

/** As many as the pod takes, whatever the CPU limit. */
const mostThreads = 256;

/** onnxruntime would take the cores of the machine, whatever the pod may use. */
function threadsOf({ spec }: ModelDeployment): number {
  const limit = spec.resources?.limits?.['cpu'];
  const cores = limit === undefined ? undefined : parseQuantity(limit);
  const { threads, instances = defaults.instances } = spec.runtime ?? {};
  return threads ?? Math.min(mostThreads, Math.max(1, Math.ceil((cores ?? defaults.threads) / instances)));
}

/** What the pod is told of itself. */
const identity = [
  [environment.podUid, 'metadata.uid'],
  [environment.podName, 'metadata.name'],
  [environment.podNamespace, 'metadata.namespace'],
] as const;

function fromField([name, fieldPath]: (typeof identity)[number]) {
  return { name, valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } } };
}

/** What the image can enforce, so that a Service can select the pods that do. Of an image that is not ours nothing is known. */
function abilities({ spec }: ModelDeployment, defaultImage: string): Record<string, string> {
  return (spec.runtime?.image ?? defaultImage) === defaultImage ? { [labels.takesTables]: String(linkVersion) } : {};
}

type Variable = NonNullable<NonNullable<ModelDeployment['spec']['pod']>['env']>[number];

function renderVariable({ name, value, valueFrom }: Variable) {
  return { name, ...(value === undefined ? {} : { value }), ...(valueFrom === undefined ? {} : { valueFrom }) };
}

function probe(path: string, timing: { readonly periodSeconds: number; readonly failureThreshold: number }) {
  return {
    // In plain HTTP on a port of its own: TLS can come and go on those that serve.
    httpGet: { path, port: 'control', scheme: 'HTTP' as const },
    timeoutSeconds: 2,
    successThreshold: 1,
    ...timing,
  };
}

function renderVolumes(model: ModelDeployment): IVolume[] {
  const source = sourceVolume(model);
  const { maxBytes: sizeLimit = '2Gi', secretName } = model.spec.model;
  const { name } = model.metadata;
  const goldenSet = model.spec.validation?.goldenSet;
  return [
    { name: 'work', emptyDir: { sizeLimit } },
    // What policy may need in the years that a revision lives. Absent means absent.
    { name: 'link', configMap: { name: linkName(name), defaultMode: 0o444, optional: true } },
    { name: 'tls', secret: { secretName: `${name}-tls`, defaultMode: 0o440, optional: true } },
    ...(source === undefined ? [] : [source]),
    ...(secretName === undefined ? [] : [{ name: 'credentials', secret: { secretName, defaultMode: 0o440 } }]),
    ...(goldenSet === undefined
      ? []
      : [
          {
            name: 'golden',
            // A pod of a revision that was healthy starts without it.
            configMap: {
              name: goldenSet.configMapName,
              items: [{ key: goldenSet.key, path: goldenSet.key }],
              defaultMode: 0o444,
              optional: true,
            },
          },
        ]),
    ...(hasHandlerContainer(model) ? [{ name: 'handler', emptyDir: { sizeLimit: '1Mi' } }] : []),
    ...(usesNodeCache(model) ? [nodeCacheVolume] : []),
  ];
}

function usesNodeCache({ spec }: ModelDeployment): boolean {
  return spec.runtime?.cache === 'Node';
}

/** A token that says to the cache of which namespace a pod is, and is good for nothing else. */
const nodeCacheVolume: IVolume = {
  name: 'node-cache',
  projected: {
    sources: [{ serviceAccountToken: { audience: nodeCache.audience, expirationSeconds: 3600, path: 'token' } }],
    defaultMode: 0o440,
  },
};

/** The volume that a pvc://, configmap:// or image:// model is on. */
function sourceVolume({ spec }: ModelDeployment): IVolume | undefined {
  // Of one that nobody can read, the pod tells what is wrong with it.
  const source = knownModelUri(spec.model.uri);
  switch (source?.scheme) {
    case 'pvc':
      return { name: 'source', persistentVolumeClaim: { claimName: source.volume, readOnly: true } };
    case 'configmap':
      return { name: 'source', configMap: { name: source.volume, defaultMode: 0o444 } };
    case 'image':
      return { name: 'source', image: { reference: source.image, pullPolicy: 'IfNotPresent' } };
    default:
      return undefined;
  }
}

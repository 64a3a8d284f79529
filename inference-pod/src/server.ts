import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { LinkedModel } from '../../contract/src/link.ts';
import { mayMove } from '../../contract/src/resolved-uri.ts';
import { inWords } from './execution/batch-gain.ts';
import { Scheduler } from './execution/scheduler.ts';
import { fetchForPod, offerToCache } from './fetch-for-pod.ts';
import { startHandledModels } from './handler/handled-models.ts';
import { Handler } from './handler/handler.ts';
import { Credentials } from './model/credentials.ts';
import { watchSource } from './model/moved-source.ts';
import type { NodeCache } from './model/node-cache.ts';
import { shorten } from './protocol/json-reader.ts';
import type { ModelIdentity } from './protocol/open-inference.ts';
import { createControlApp } from './serving/control-app.ts';
import { healthMethods } from './serving/grpc-health-service.ts';
import { inferenceMethods } from './serving/grpc-inference-service.ts';
import { reflectionMethods } from './serving/grpc-reflection-service.ts';
import { type GrpcServer, listenGrpc } from './serving/grpc-server.ts';
import { createInferenceApp } from './serving/inference-app.ts';
import { createInference } from './serving/inference-route.ts';
import { Lifecycle, type ServedModel, schedulersOf } from './serving/lifecycle.ts';
import { createPodLink, type PodLink } from './serving/link.ts';
import { close, type HttpServer, listen } from './serving/listener.ts';
import { PictureAddresses } from './serving/picture-addresses.ts';
import { createServingListener } from './serving/serving-listener.ts';
import { taskRoutes } from './serving/task-routes.ts';
import { tensorflowMethods } from './serving/tensorflow-service.ts';
import { Transfers } from './serving/transfers.ts';
import type { Task } from './tasks/task.ts';
import { createAccessLog } from './telemetry/access-log.ts';
import { Loading } from './telemetry/loading.ts';
import { createTelemetry } from './telemetry/metrics.ts';
import { grpcRouteOf, pathOf } from './telemetry/routes.ts';
import { openTracing, type Tracing } from './telemetry/tracing.ts';
import { patienceFor, usualFor } from './traffic/patience.ts';
import { Traffic } from './traffic/traffic.ts';
import { checkGoldenSet } from './validation/golden-check.ts';

export interface ServerSettings {
  readonly modelName: string;
  readonly modelVersion: string;
  readonly modelUri: string;
  readonly modelArchivePath: string | undefined;
  readonly modelSha256: string | undefined;
  /** The public key, in PEM, that has to have signed the model; undefined: nobody has to. */
  readonly modelSignatureKey: string | undefined;
  /** A SignerIdentity as JSON, of whom the certificate has to be that has signed the model; undefined: nobody has to. */
  readonly modelSignatureIdentity: string | undefined;
  readonly modelSignatureFile: string | undefined;
  readonly modelMaxBytes: number;
  /** Of operators that are not ONNX's own, those that the model may have. */
  readonly operatorDomains: readonly string[];
  /** What the model is used for beside its tensors; undefined for nothing. */
  readonly task: Task | undefined;
  /** What pictures that requests name by their addresses may be fetched from; empty: nothing. */
  readonly pictureHosts: readonly string[];
  /** How the module `handler.mjs` beside the model is used; undefined: it is not. */
  readonly handler: HandlerUse | undefined;
  readonly revision: string | undefined;
  readonly threads: number;
  readonly host: string | undefined;
  readonly port: number;
  readonly grpcPort: number;
  readonly controlPort: number;
  readonly drainSeconds: number;
  readonly maxInFlight: number;
  readonly instances: number;
  /** Undefined: each request is run by itself. */
  readonly batchMaxSize: number | undefined;
  readonly batchMaxDelayMilliseconds: number;
  readonly requestTimeoutMilliseconds: number;
  readonly fetchTimeoutSeconds: number;
  /** After which it is asked again what a name in the model's URI leads to; 0: never. */
  readonly sourceCheckSeconds: number;
  readonly maxBodyBytes: number;
  readonly maxAnswerBytes: number;
  /** A file of requests with the answers that are expected; undefined: none is checked. */
  readonly goldenSet: string | undefined;
  readonly goldenSetSha256: string | undefined;
  readonly goldenSetPatienceSeconds: number;
  /** Of a hundred requests, how many are written to the log. */
  readonly accessLogPercent: number;
  /** Whether people are given a page at `/`. */
  readonly page: 'Enabled' | 'Disabled';
  readonly workDirectory: string;
  readonly mountDirectory: string;
  readonly credentialsDirectory: string;
  /** Undefined: none is asked. */
  readonly nodeCache: NodeCache | undefined;
  /** Who this pod is, for the pod link; undefined outside a cluster. */
  readonly podUid: string | undefined;
  readonly linkDirectory: string;
}

export interface HandlerUse {
  /** What it reads beside it. */
  readonly files: readonly string[];
  /** The models beside it that only it runs. */
  readonly models: readonly string[];
  /** The longest that one call of it may take. */
  readonly timeoutMilliseconds: number;
  /** Where the container listens that it runs in; undefined: it runs in this one. */
  readonly socketPath: string | undefined;
}

export interface ServerEvents {
  /** The pod can do no more than to begin anew. */
  readonly onHopeless: (message: string) => void;
  /** The operator has been told which model is loaded. */
  readonly onTold: () => void;
}

export interface InferenceServer {
  /** The port that serves, which is known only now if it was asked for as 0. */
  readonly port: number;
  readonly grpcPort: number;
  readonly controlPort: number;
  /** Once the cache of the node has the model, or will not have it from here. */
  readonly offered: Promise<void>;
  /**
   * Endpoints are withdrawn asynchronously, so requests go on arriving for a while: they are answered, each with
   * `Connection: close`, for `drainSeconds`; then nothing more is accepted and what was accepted is finished.
   */
  drain(): Promise<void>;
}

/** For the last answers, once they are made. */
const sendingMilliseconds = 5000;
/** How many bodies and answers of the largest size may be held at once. */
const messagesInFlight = 4;
const leastBytesPerSecond = 262_144;
const graceMilliseconds = 10_000;
/** Text of a few digits may stand for an element of eight bytes. */
const tensorBytesPerBodyByte = 2;

/**
 * Opens both ports, then fetches, verifies, loads and warms the model; ready once that is done.
 *
 * @param signal ends what it started, at once
 * @throws StartupError
 */
export async function startServer(
  settings: ServerSettings,
  log: Logger,
  events: ServerEvents,
  signal: AbortSignal,
): Promise<InferenceServer> {
  const lifecycle = new Lifecycle();
  const transfers = new Transfers(
    {
      mostBytes: messagesInFlight * Math.max(settings.maxBodyBytes, settings.maxAnswerBytes),
      leastBytesPerSecond,
      graceMilliseconds,
    },
    () => performance.now(),
  );
  const loading = new Loading(log);
  const telemetry = createTelemetry(() => ({
    inFlight: inFlightOf(lifecycle.model),
    restarts: restartsOf(lifecycle.model),
    handlerRestarts: lifecycle.model?.handler?.restarts ?? 0,
    servingThreadRuns: lifecycle.model?.scheduler.servingThreadRuns ?? 0,
    transferBytes: transfers.bytes,
    passedOn: traffic.passedOn,
    loading: loading.progress,
  }));
  const link = createPodLink({
    pod: settings.podUid ?? '',
    directory: settings.linkDirectory,
    figures: () => ({
      revision: settings.revision,
      model: linkedModel(lifecycle),
      measures: telemetry.measures(),
      passedOn: traffic.passedOn,
    }),
    now: () => performance.now(),
  });
  const traffic = new Traffic({
    revision: settings.revision,
    version: settings.modelVersion,
    table: () => link.table?.table,
    patienceMilliseconds: () => patienceFor(telemetry.measures().latency),
    usualMilliseconds: () => usualFor(telemetry.measures().latency),
    mostUnderWay: settings.maxInFlight,
    mostAnswerBytes: settings.maxAnswerBytes,
    now: () => performance.now(),
    computed: () => {
      const { user, system } = process.threadCpuUsage();
      return (user + system) / 1000;
    },
    random: Math.random,
  });
  const tracing = await openTracing(identityOf(settings), settings.revision, log);
  const servers = await openPorts(settings, log, {
    lifecycle,
    loading,
    transfers,
    telemetry,
    tracing,
    link,
    traffic,
    onTold: events.onTold,
  });

  const start = performance.now();
  const { model, offered } = await loadModel(settings, log, events, loading, signal);
  loading.end();
  const { signature } = model.scheduler.model;
  const memoryBytes = sumOf(schedulersOf(model), (scheduler) => scheduler.model.memoryBytes);
  const measured = { seconds: (performance.now() - start) / 1000, memoryBytes, batching: model.scheduler.batching };
  telemetry.modelLoaded(model.report, settings.revision, measured);
  lifecycle.happened({ kind: 'loaded', model });
  log.info({ ...model.report, signature, seconds: measured.seconds, memoryBytes }, 'the model is loaded');

  const drain = async () => {
    lifecycle.happened({ kind: 'told to end' });
    log.info({ drainSeconds: settings.drainSeconds, inFlight: inFlightOf(model) }, 'draining');
    await sleep(settings.drainSeconds * 1000);
    // What was accepted has all the time that a request may take, and what is needed to send its answer.
    const most = settings.requestTimeoutMilliseconds + sendingMilliseconds;
    servers.grpc.goAway();
    // What a canary does not answer is answered here.
    const answered = async () => {
      await traffic.idle();
      await model.handler?.idle();
      await model.scheduler.idle();
    };
    await Promise.all([close(servers.serving, answered, most), servers.grpc.close(most)]);
    servers.control.closeAllConnections();
    servers.control.close();
    await tracing?.end();
    lifecycle.happened({ kind: 'drained' });
  };
  let draining: Promise<void> | undefined;
  return {
    port: portOf(servers.serving),
    grpcPort: servers.grpc.port,
    controlPort: portOf(servers.control),
    offered,
    drain() {
      draining ??= drain();
      return draining;
    },
  };
}

function inFlightOf(model: ServedModel | undefined): number {
  if (model === undefined) return 0;
  return sumOf(schedulersOf(model), ({ inFlight }) => inFlight) + (model.handler?.inFlight ?? 0);
}

function restartsOf(model: ServedModel | undefined): number {
  return model === undefined ? 0 : sumOf(schedulersOf(model), ({ restarts }) => restarts);
}

function sumOf<T>(items: readonly T[], amountOf: (item: T) => number): number {
  return items.reduce((sum, item) => sum + amountOf(item), 0);
}

/** What the gRPC port serves beside health and reflection. */
const grpcServices = [
  'inference.GRPCInferenceService',
  'tensorflow.serving.PredictionService',
  'tensorflow.serving.ModelService',
];

interface PortOptions {
  readonly lifecycle: Lifecycle;
  readonly loading: Loading;
  readonly transfers: Transfers;
  readonly telemetry: ReturnType<typeof createTelemetry>;
  readonly tracing: Tracing | undefined;
  readonly link: PodLink;
  readonly traffic: Traffic;
  readonly onTold: () => void;
}

async function openPorts(
  settings: ServerSettings,
  log: Logger,
  { lifecycle, loading, transfers, telemetry, tracing, link, traffic, onTold }: PortOptions,
): Promise<{ readonly serving: HttpServer; readonly grpc: GrpcServer; readonly control: HttpServer }> {
  const { revision, maxBodyBytes, requestTimeoutMilliseconds, host } = settings;
  const model = identityOf(settings);
  const control = await listen({
    listener: createControlApp({ telemetry, link, lifecycle, loading, onTold }),
    port: settings.controlPort,
    host,
  });
  const common = { model, lifecycle, transfers, log, telemetry, traffic };
  const accessLog = createAccessLog({ model: model.name, version: model.version, revision }, settings.accessLogPercent);
  const pictureAddresses = new PictureAddresses({
    hosts: settings.pictureHosts,
    maxBodyBytes,
    mostUnderWay: settings.maxInFlight,
  });
  const infer = createInference({ ...common, maxBodyBytes, requestTimeoutMilliseconds, pictureAddresses });
  const app = createInferenceApp({
    ...common,
    infer,
    hasPage: settings.page === 'Enabled',
    task: settings.task === undefined ? undefined : taskRoutes[settings.task.kind],
    hasHandler: settings.handler !== undefined,
    columns: settings.task?.kind === 'Tabular' ? settings.task.columns : undefined,
  });
  const serving = await listen({
    listener: createServingListener({ ...common, revision, infer, app, accessLog, tracing }),
    port: settings.port,
    host,
    onMalformed: (status) => telemetry.answered('malformed', status, 0, true),
  });
  const service = { ...common, requestTimeoutMilliseconds, mostMessageBytes: maxBodyBytes };
  const grpc = await listenGrpc({
    port: settings.grpcPort,
    host,
    methods: new Map([
      ...inferenceMethods(service),
      ...tensorflowMethods(service),
      ...healthMethods(lifecycle, grpcServices),
      ...reflectionMethods(['grpc.health.v1.Health', ...grpcServices]),
    ]),
    transfers,
    revision,
    onEnd({ path, status, start, end, traceparent, isOwn }) {
      const route = grpcRouteOf(path);
      const seconds = (end - start) / 1000;
      telemetry.answered(route, status, seconds, isOwn);
      const shown = shorten(pathOf(path));
      accessLog?.({ method: 'gRPC', path: shown, route, status, seconds });
      tracing?.record({ method: 'gRPC', route, path: shown, status, traceparent, start, end, stages: {} });
    },
    onFault: (error) => log.error({ err: error }, 'a request failed'),
  });
  return { serving, grpc, control };
}

function identityOf({ modelName, modelVersion }: ServerSettings): ModelIdentity {
  return { name: modelName, version: modelVersion };
}

function portOf(server: HttpServer): number {
  return (server.address() as AddressInfo).port;
}

function linkedModel({ model }: Lifecycle): LinkedModel | undefined {
  if (model === undefined) return undefined;
  const { report, scheduler, resolvedUri, movedTo, signedBy, goldenSet } = model;
  const { signature } = scheduler.model;
  return { ...report, signature, resolvedUri, movedTo: movedTo(), signedBy, goldenSet };
}

async function loadModel(
  settings: ServerSettings,
  log: Logger,
  { onHopeless }: ServerEvents,
  loading: Loading,
  signal: AbortSignal,
): Promise<{ readonly model: ServedModel; readonly offered: Promise<void> }> {
  const credentials = new Credentials(settings.credentialsDirectory, process.env);
  const file = await fetchForPod(settings, credentials, log, (bytes, totalBytes) => loading.fetched(bytes, totalBytes));
  const { kept, signedBy } = file;
  const { sha256, resolvedUri } = kept;
  const offered = offerToCache(settings, file, log, signal).then(() => undefined);
  loading.enter('opening');
  const model = identityOf(settings);
  const limits = {
    mostTensorBytes: tensorBytesPerBodyByte * settings.maxBodyBytes,
    mostAnswerBytes: settings.maxAnswerBytes,
    columns: settings.task?.kind === 'Tabular' ? settings.task.columns : undefined,
  };
  const { batchMaxSize, batchMaxDelayMilliseconds } = settings;
  const batching =
    batchMaxSize === undefined ? undefined : { maxSize: batchMaxSize, maxDelayMilliseconds: batchMaxDelayMilliseconds };
  const executor = {
    path: file.path,
    threads: settings.threads,
    model,
    limits,
    mostRows: batchMaxSize ?? 1,
    operatorDomains: settings.operatorDomains,
    task: settings.task === undefined ? undefined : { task: settings.task, folder: file.folder },
  };
  const running = {
    batching,
    instances: settings.instances,
    maxInFlight: settings.maxInFlight,
    requestTimeoutMilliseconds: settings.requestTimeoutMilliseconds,
    log,
    signal,
    onHopeless: (reason: string) => onHopeless(`the process that runs the model ends again and again: ${reason}`),
  };
  const scheduler = await Scheduler.start({ ...running, settings: executor });
  const handled = await startHandledModels(settings.handler?.models ?? [], file.folder, {
    ...running,
    settings: executor,
  });
  const handler =
    settings.handler === undefined
      ? undefined
      : await Handler.start({
          folder: file.folder,
          settings: {
            models: [{ name: undefined, scheduler }, ...handled].map((one) => ({
              name: one.name,
              signature: one.scheduler.model.signature,
            })),
            ...limits,
          },
          mostUnderWay: settings.maxInFlight,
          timeoutMilliseconds: settings.handler.timeoutMilliseconds,
          socketPath: settings.handler.socketPath,
          log,
          onHopeless: (reason) => onHopeless(`the handler cannot be started anew: ${reason}`),
          signal,
        });
  loading.enter('checking');
  const goldenSet = await checkGoldenSet(settings, scheduler, limits, log);
  // Requests that are to be run together go to an executor, all of them.
  if (scheduler.batching?.kind !== 'on') await scheduler.openServingThread(settings.workDirectory);
  const { omittedOutputs, warmUpRefused } = scheduler.model;
  if (omittedOutputs.length > 0) {
    log.warn({ outputs: omittedOutputs }, 'outputs that are no tensors are left out: convert without ZipMap');
  }
  if (scheduler.batching !== undefined) {
    const level = scheduler.batching.kind === 'on' ? 'info' : 'warn';
    log[level]({ batching: inWords(scheduler.batching) }, 'requests that come together');
  }
  if (warmUpRefused !== undefined) log.info({ reason: warmUpRefused }, 'the model refused the warm-up on zeros');
  const movedTo = followMoves(settings, credentials, resolvedUri, log, signal);
  const report = { ...model, digest: `sha256:${sha256}` };
  const handledModels = handled.map((one) => one.scheduler);
  return { model: { scheduler, handler, handledModels, report, resolvedUri, movedTo, signedBy, goldenSet }, offered };
}

/** @returns tells what a name in the model's URI leads to by now, where that is something else */
function followMoves(
  { modelUri, sourceCheckSeconds }: ServerSettings,
  credentials: Credentials,
  resolvedUri: string | undefined,
  log: Logger,
  signal: AbortSignal,
): () => string | undefined {
  if (resolvedUri === undefined || sourceCheckSeconds === 0 || !mayMove(modelUri)) return () => undefined;
  let movedTo: string | undefined;
  const source = { uri: modelUri, resolvedUri, credentials, everySeconds: sourceCheckSeconds };
  const onTold: Parameters<typeof watchSource>[1] = (told) => {
    if ('failure' in told) return log.warn({ reason: told.failure }, 'the store does not tell what the URI leads to');
    if (told.movedTo !== undefined && told.movedTo !== movedTo)
      log.warn({ resolvedUri, movedTo: told.movedTo }, 'the URI leads to something else now, which is not followed');
    movedTo = told.movedTo;
  };
  void watchSource(source, onTold, signal);
  return () => movedTo;
}

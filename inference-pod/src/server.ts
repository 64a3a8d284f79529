import { mkdir } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { LinkedModel } from '../../contract/src/link.ts';
import type { ModelReport } from '../../contract/src/model-report.ts';
import { type Executor, startExecutor } from './model/executor.ts';
import { fetchModel } from './model/fetch.ts';
import { parseModelSource } from './model/source.ts';
import { createAdmission } from './serving/admission.ts';
import { createControlApp } from './serving/control-app.ts';
import { createInferenceApp } from './serving/inference-app.ts';
import { createPodLink } from './serving/link.ts';
import { close, listen } from './serving/listener.ts';
import type { ServingState } from './serving/state.ts';
import { createTelemetry } from './telemetry/metrics.ts';

export interface ServerSettings {
  readonly modelName: string;
  readonly modelVersion: string;
  readonly modelUri: string;
  readonly modelSha256: string | undefined;
  readonly modelMaxBytes: number;
  readonly revision: string | undefined;
  readonly threads: number;
  readonly host: string | undefined;
  readonly port: number;
  readonly controlPort: number;
  readonly drainSeconds: number;
  readonly maxInFlight: number;
  readonly maxBodyBytes: number;
  readonly workDirectory: string;
  readonly mountDirectory: string;
  /** Who this pod is, for the pod link; undefined outside a cluster. */
  readonly podUid: string | undefined;
  readonly linkDirectory: string;
}

export interface ServerEvents {
  /** From now on, until it is loaded, the model is in native code: `process.exit` would abort the process. */
  readonly onOpening: () => void;
  /** The model's thread ended by itself; nothing can be answered afterwards. */
  readonly onCrash: (error: Error) => void;
  /** The operator has been told which model is loaded. */
  readonly onTold: () => void;
}

export interface InferenceServer {
  /** The port that serves, which is known only now if it was asked for as 0. */
  readonly port: number;
  readonly controlPort: number;
  /**
   * Endpoints are withdrawn asynchronously, so requests go on arriving for a while: they are answered, each with
   * `Connection: close`, for `drainSeconds`; then nothing more is accepted and what was accepted is finished.
   */
  drain(): Promise<void>;
}

/** How many bodies of the largest size may be held at once. */
const bodiesInFlight = 4;

/**
 * Opens both ports, then fetches, verifies, loads and warms the model; ready once that is done.
 *
 * @throws StartupError
 */
export async function startServer(
  settings: ServerSettings,
  log: Logger,
  events: ServerEvents,
): Promise<InferenceServer> {
  let state: ServingState = { kind: 'loading' };
  const model = { name: settings.modelName, version: settings.modelVersion };
  const admission = createAdmission(settings.maxInFlight, bodiesInFlight * settings.maxBodyBytes);
  const telemetry = createTelemetry(() => admission.inFlight);
  const { revision, maxBodyBytes } = settings;
  const inferenceApp = createInferenceApp({
    model,
    revision,
    maxBodyBytes,
    admission,
    telemetry,
    log,
    state: () => state,
  });
  const link = createPodLink({
    pod: settings.podUid ?? '',
    directory: settings.linkDirectory,
    figures: () => ({ revision, model: linkedModel(state), measures: telemetry.measures() }),
    now: () => performance.now(),
  });
  const control = await listen(
    createControlApp({ telemetry, link, state: () => state, onTold: events.onTold }),
    settings.controlPort,
    settings.host,
  );
  const serving = await listen(inferenceApp, settings.port, settings.host);

  const start = performance.now();
  const { executor, report } = await loadModel(settings, log, events);
  const seconds = (performance.now() - start) / 1000;
  telemetry.modelLoaded(report, revision, seconds);
  state = { kind: 'serving', executor, report };
  log.info({ ...report, signature: executor.signature, seconds }, 'the model is loaded');

  return {
    port: (serving.address() as AddressInfo).port,
    controlPort: (control.address() as AddressInfo).port,
    async drain() {
      state = { kind: 'draining', executor, report };
      log.info({ drainSeconds: settings.drainSeconds, inFlight: admission.inFlight }, 'draining');
      await sleep(settings.drainSeconds * 1000);
      await close(serving, admission.computed);
      control.closeAllConnections();
      control.close();
    },
  };
}

function linkedModel(state: ServingState): LinkedModel | undefined {
  if (state.kind === 'loading' || state.executor === undefined || state.report === undefined) return undefined;
  return { ...state.report, signature: state.executor.signature };
}

async function loadModel(
  settings: ServerSettings,
  log: Logger,
  { onOpening, onCrash }: ServerEvents,
): Promise<{ executor: Executor; report: ModelReport }> {
  await mkdir(settings.workDirectory, { recursive: true });
  const source = parseModelSource(settings.modelUri, settings.mountDirectory);
  const file = await fetchModel(source, {
    directory: settings.workDirectory,
    maxBytes: settings.modelMaxBytes,
    sha256: settings.modelSha256,
  });
  log.info({ bytes: file.bytes, sha256: file.sha256 }, 'the model file is here');
  const model = { name: settings.modelName, version: settings.modelVersion };
  onOpening();
  const executor = await startExecutor({ path: file.path, threads: settings.threads, model }, onCrash);
  if (executor.omittedOutputs.length > 0) {
    log.warn({ outputs: executor.omittedOutputs }, 'outputs that are no tensors are left out: convert without ZipMap');
  }
  if (executor.warmUpRefused !== undefined) {
    log.info({ reason: executor.warmUpRefused }, 'the model refused the warm-up on zeros');
  }
  return { executor, report: { ...model, digest: `sha256:${file.sha256}` } };
}

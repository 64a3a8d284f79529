import { collectDefaultMetrics, Registry } from 'prom-client';
import { GrowingHistogram } from '../../../contract/src/histogram.ts';
import type { Measures } from '../../../contract/src/link.ts';
import type { LoadingProgress } from '../../../contract/src/loading-progress.ts';
import type { ModelReport } from '../../../contract/src/model-report.ts';
import type { PassedOn } from '../../../contract/src/traffic.ts';
import type { BatchingDecision } from '../execution/batch-gain.ts';
import type { InferenceStatistics } from '../serving/model-description.ts';
import { Buckets } from './buckets.ts';
import { type Family, formatFamilies } from './exposition.ts';
import { isInference, type RequestRoute } from './routes.ts';

export interface Telemetry {
  readonly contentType: string;
  exposition(): Promise<string>;
  /**
   * Counts one request that was answered, or whose client has gone.
   *
   * @param isOwn whether nobody else was asked first: only then does it say something of this pod's model
   */
  answered(route: RequestRoute, code: number, seconds: number, isOwn: boolean): void;
  /** The seconds from the last byte of an inference to its answer, of one that was answered well. */
  handled(seconds: number): void;
  /** The seconds that the model itself took for one request. */
  observeInference(seconds: number): void;
  /** What has been counted of inferences. */
  statistics(): InferenceStatistics;
  /** What this process has counted so far, as the pod link tells it. */
  measures(): Measures;
  /** Says which model is loaded, and how long fetching, loading and warming it took. */
  modelLoaded(report: ModelReport, revision: string | undefined, measured: LoadMeasures): void;
}

/** What the loading of a model took. */
export interface LoadMeasures {
  /** For fetching, loading and warming it. */
  readonly seconds: number;
  /** What each process that runs the model holds in memory since. */
  readonly memoryBytes: number;
  /** Undefined where it was not asked for. */
  readonly batching: BatchingDecision | undefined;
}

/** What is read when somebody asks. */
export interface Readings {
  readonly inFlight: number;
  readonly restarts: number;
  /** Of the handler's process. */
  readonly handlerRestarts: number;
  readonly servingThreadRuns: number;
  readonly transferBytes: number;
  readonly passedOn: PassedOn;
  /** Undefined once the model is loaded. */
  readonly loading: LoadingProgress | undefined;
}

/** The client went away before the answer, as proxies count it. */
export const abandonedCode = 499;

/** Requests of one route. */
interface RouteCounts {
  readonly codes: Map<number, number>;
  readonly durations: Buckets;
}

/** Everything is counted in plain integers, and made text when it is read. */
export function createTelemetry(readings: () => Readings): Telemetry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const routes = new Map<RequestRoute, RouteCounts>();
  const inferences = new Buckets();
  const counters = { requests: 0, refused: 0, failed: 0, abandoned: 0 };
  const latency = new GrowingHistogram();
  const statistics = { succeeded: 0, succeededSeconds: 0, failed: 0, failedSeconds: 0, lastInference: 0 };
  let loaded: Loaded | undefined;

  const countsOf = (route: RequestRoute): RouteCounts => {
    const known = routes.get(route);
    if (known !== undefined) return known;
    const counts = { codes: new Map<number, number>(), durations: new Buckets() };
    routes.set(route, counts);
    return counts;
  };

  return {
    contentType: registry.contentType,
    async exposition() {
      const families = [
        ...requestFamilies(routes, inferences),
        ...readingFamilies(readings()),
        ...trafficFamilies(readings().passedOn),
        ...loadingFamilies(readings().loading),
        ...modelFamilies(loaded),
      ];
      return (await registry.metrics()) + formatFamilies(families);
    },
    answered(route, code, seconds, isOwn) {
      const { codes, durations } = countsOf(route);
      codes.set(code, (codes.get(code) ?? 0) + 1);
      durations.observe(seconds);
      if (!isInference(route) || !isOwn) return;
      counters.requests++;
      if (code === abandonedCode) counters.abandoned++;
      else if (code >= 500) counters.failed++;
      else if (code >= 400) counters.refused++;
      if (code === 200) {
        statistics.succeeded++;
        statistics.succeededSeconds += seconds;
        statistics.lastInference = Date.now();
      } else {
        statistics.failed++;
        statistics.failedSeconds += seconds;
      }
    },
    handled: (seconds) => latency.observe(seconds),
    statistics: () => ({ ...statistics, computed: inferences.count, computedSeconds: inferences.sum }),
    measures: () => ({ counters: { ...counters }, latency: latency.now }),
    observeInference: (seconds) => inferences.observe(seconds),
    modelLoaded(report, revision, measured) {
      loaded = { labels: { ...report, revision: revision ?? '' }, measured };
    },
  };
}

function requestFamilies(routes: ReadonlyMap<RequestRoute, RouteCounts>, inferences: Buckets): readonly Family[] {
  return [
    {
      name: 'slipway_http_requests_total',
      help: 'Requests answered, by route and status code.',
      type: 'counter',
      samples: Array.from(routes, ([route, { codes }]) =>
        Array.from(codes, ([code, value]) => ({ labels: { route, code: String(code) }, value })),
      ).flat(),
    },
    {
      name: 'slipway_http_request_duration_seconds',
      help: 'Time from the head of a request to the end of its answer, by route.',
      type: 'histogram',
      samples: Array.from(routes, ([route, { durations }]) => ({ labels: { route }, value: durations })),
    },
    {
      name: 'slipway_inference_duration_seconds',
      help: 'Time that the model itself took for a request.',
      type: 'histogram',
      samples: [{ labels: {}, value: inferences }],
    },
  ];
}

function readingFamilies({
  inFlight,
  restarts,
  handlerRestarts,
  servingThreadRuns,
  transferBytes,
}: Readings): readonly Family[] {
  const family = (name: string, type: 'gauge' | 'counter', help: string, value: number): Family => ({
    name,
    help,
    type,
    samples: [{ labels: {}, value }],
  });
  return [
    family('slipway_requests_in_flight', 'gauge', 'Inference requests that wait or are computed.', inFlight),
    family(
      'slipway_executor_restarts_total',
      'counter',
      'How often a process that runs the model was started anew.',
      restarts,
    ),
    family(
      'slipway_handler_restarts_total',
      'counter',
      'How often the process of the handler was started anew.',
      handlerRestarts,
    ),
    family(
      'slipway_serving_thread_inferences_total',
      'counter',
      'Inferences that the serving thread has made itself, because they are proven to be cheap.',
      servingThreadRuns,
    ),
    family(
      'slipway_transfer_bytes',
      'gauge',
      'Bytes held of bodies that have not been answered and of answers that have not been read.',
      transferBytes,
    ),
  ];
}

function trafficFamilies({ revision, requests, failed, saturated, compared, differing }: PassedOn): readonly Family[] {
  if (revision === '') return [];
  const counts = { answered: requests - failed - saturated, failed, saturated };
  const comparisons = { same: compared - differing, different: differing };
  return [
    {
      name: 'slipway_passed_on_requests_total',
      help: 'Requests that a canary was asked first, by what became of them there: this pod answered what the canary did not.',
      type: 'counter',
      samples: Object.entries(counts).map(([outcome, value]) => ({ labels: { revision, outcome }, value })),
    },
    {
      name: 'slipway_compared_answers_total',
      help: 'Answers of this pod that were compared with those of a canary to the same requests, by what came of it.',
      type: 'counter',
      samples: Object.entries(comparisons).map(([outcome, value]) => ({ labels: { revision, outcome }, value })),
    },
  ];
}

function loadingFamilies(progress: LoadingProgress | undefined): readonly Family[] {
  if (progress === undefined) return [];
  const { stage, bytes, totalBytes, seconds } = progress;
  const family = (name: string, help: string, value: number, labels: Record<string, string> = {}): Family => ({
    name,
    help,
    type: 'gauge',
    samples: [{ labels, value }],
  });
  const total = 'Bytes of the whole model file, where the store tells it.';
  return [
    family('slipway_model_loading_seconds', 'For how long the model is being loaded, by stage.', seconds, { stage }),
    family('slipway_model_fetched_bytes', 'Bytes of the model file that are here.', bytes),
    ...(totalBytes === undefined ? [] : [family('slipway_model_file_bytes', total, totalBytes)]),
  ];
}

function batchingFamilies(batching: BatchingDecision | undefined): readonly Family[] {
  if (batching === undefined) return [];
  const gauge = (name: string, help: string, value: number): Family => ({
    name,
    help,
    type: 'gauge',
    samples: [{ labels: {}, value }],
  });
  const isOn = gauge('slipway_batching', 'Whether requests are run together: 1 or 0.', Number(batching.kind === 'on'));
  if (batching.kind === 'off') return [isOn];
  const help = 'How many times as many rows a second the model computes together, measured when it was loaded.';
  return [isOn, gauge('slipway_batching_gain', help, batching.gain)];
}

interface Loaded {
  readonly labels: Record<string, string>;
  readonly measured: LoadMeasures;
}

function modelFamilies(loaded: Loaded | undefined): readonly Family[] {
  if (loaded === undefined) return [];
  return [
    {
      name: 'slipway_model_info',
      help: 'The model that is served; always 1.',
      type: 'gauge',
      samples: [{ labels: loaded.labels, value: 1 }],
    },
    {
      name: 'slipway_model_load_seconds',
      help: 'Time to fetch, verify, load and warm the model.',
      type: 'gauge',
      samples: [{ labels: {}, value: loaded.measured.seconds }],
    },
    {
      name: 'slipway_model_memory_bytes',
      help: 'What each process that runs the model held in memory once it was loaded and warm.',
      type: 'gauge',
      samples: [{ labels: {}, value: loaded.measured.memoryBytes }],
    },
    ...batchingFamilies(loaded.measured.batching),
  ];
}

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Measurement } from './api/model-deployment.ts';

/** The operator's own metrics, under the names that controllers of Kubernetes commonly have. */
export interface Metrics {
  readonly contentType: string;
  exposition(): Promise<string>;
  countRequest(method: string, path: string, status: number): void;
  timePass<T>(pass: () => Promise<T>): Promise<T>;
  countWatchError(resource: string): void;
  setLeading(leading: boolean): void;
  /** Where the canary of a ModelDeployment stands now; undefined when it has none. */
  setCanary(model: ModelKey, canary: CanaryFigures | undefined): void;
}

export interface ModelKey {
  readonly namespace: string;
  readonly name: string;
}

export interface CanaryFigures {
  readonly weight: number;
  /** What its gates find now; the status tells it once in an interval. */
  readonly measured: readonly Measurement[];
}

export function createMetrics(queueDepth: () => number, models: () => number): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const requests = new Counter({
    name: 'rest_client_requests_total',
    help: 'Requests to the API server, by method, resource and status code.',
    labelNames: ['method', 'resource', 'code'],
    registers,
  });
  const passes = new Histogram({
    name: 'slipway_reconcile_duration_seconds',
    help: 'Time of a pass over a ModelDeployment, by result.',
    labelNames: ['result'],
    buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30],
    registers,
  });
  const watchErrors = new Counter({
    name: 'slipway_watch_errors_total',
    help: 'Lists and watches that failed, by resource.',
    labelNames: ['resource'],
    registers,
  });
  const leading = new Gauge({ name: 'slipway_leader', help: 'Whether this process is the leader.', registers });
  new Gauge({
    name: 'workqueue_depth',
    help: 'ModelDeployments that wait for a pass.',
    registers,
    collect() {
      this.set(queueDepth());
    },
  });
  new Gauge({
    name: 'slipway_model_deployments',
    help: 'ModelDeployments in the cache.',
    registers,
    collect() {
      this.set(models());
    },
  });
  const weights = new Gauge({
    name: 'slipway_canary_weight_percent',
    help: 'The share of requests that a canary is given.',
    labelNames: ['namespace', 'name'],
    registers,
  });
  const gates = new Gauge({
    name: 'slipway_canary_gate',
    help: 'What a gate of a canary finds: value, lower and upper end of its confidence sequence as ratios, and the requests counted; of PromQL the number, and the intervals.',
    labelNames: ['namespace', 'name', 'gate', 'of'],
    registers,
  });
  const shown = new Map<string, CanaryFigures>();
  const forgetGate = (own: Record<string, string>) => {
    for (const of of gateFigures) gates.remove({ ...own, of });
  };
  const setGate = (own: Record<string, string>, measurement: Measurement) => {
    for (const of of gateFigures) {
      const figure = figureOf(measurement, of);
      if (figure !== undefined) gates.set({ ...own, of }, figure);
    }
  };
  for (const result of ['success', 'error']) passes.zero({ result });
  return {
    contentType: registry.contentType,
    exposition: () => registry.metrics(),
    countRequest: (method, path, code) => requests.inc({ method, resource: resourceOf(path), code }),
    async timePass(pass) {
      const end = passes.startTimer();
      try {
        const value = await pass();
        end({ result: 'success' });
        return value;
      } catch (error) {
        end({ result: 'error' });
        throw error;
      }
    },
    countWatchError: (resource) => watchErrors.inc({ resource }),
    setLeading: (is) => leading.set(is ? 1 : 0),
    setCanary({ namespace, name }, canary) {
      const key = `${namespace}/${name}`;
      const own = { namespace, name };
      for (const { gate } of shown.get(key)?.measured ?? []) forgetGate({ ...own, gate });
      if (canary === undefined) {
        if (shown.delete(key)) weights.remove(own);
        return;
      }
      shown.set(key, canary);
      weights.set(own, canary.weight);
      for (const measurement of canary.measured) setGate({ ...own, gate: measurement.gate }, measurement);
    },
  };
}

const gateFigures = ['value', 'lower', 'upper', 'requests'] as const;

function figureOf(measurement: Measurement, of: (typeof gateFigures)[number]): number | undefined {
  const figure = measurement[of];
  if (figure === undefined || typeof figure === 'number') return figure;
  return figure.endsWith('%') ? Number(figure.slice(0, -1)) / 100 : Number(figure);
}

/** The plural of a path's resource: names of objects would be labels without number. */
function resourceOf(path: string): string {
  const parts = path.split('/').slice(path.startsWith('/apis/') ? 4 : 3);
  return (parts[0] === 'namespaces' ? parts[2] : parts[0]) ?? 'other';
}

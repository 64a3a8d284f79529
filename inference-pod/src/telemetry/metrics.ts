import type { Request, Response } from 'express';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { GrowingHistogram } from '../../../contract/src/histogram.ts';
import type { Measures } from '../../../contract/src/link.ts';
import type { ModelReport } from '../../../contract/src/model-report.ts';

export interface Telemetry {
  readonly contentType: string;
  exposition(): Promise<string>;
  /** Counts and times one request from now until its answer is sent or its connection is gone. */
  observe(request: Request, response: Response): void;
  /** The seconds that the model itself took for one request. */
  observeInference(seconds: number): void;
  /** What this process has counted so far, as the pod link tells it. */
  measures(): Measures;
  /** Says which model is loaded, and how long fetching, loading and warming it took. */
  modelLoaded(report: ModelReport, revision: string | undefined, seconds: number): void;
}

/** From 0.5 ms, a small model's answer, to 10 s. */
const latencyBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** The client went away before the answer, as proxies count it. */
const abandonedCode = 499;

export function createTelemetry(inFlight: () => number): Telemetry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const requests = new Counter({
    name: 'slipway_http_requests_total',
    help: 'Requests answered, by route and status code.',
    labelNames: ['route', 'code'],
    registers,
  });
  const durations = new Histogram({
    name: 'slipway_http_request_duration_seconds',
    help: 'Time from the head of a request to the end of its answer, by route.',
    labelNames: ['route'],
    buckets: latencyBuckets,
    registers,
  });
  const inferences = new Histogram({
    name: 'slipway_inference_duration_seconds',
    help: 'Time that the model itself took for a request.',
    buckets: latencyBuckets,
    registers,
  });
  new Gauge({
    name: 'slipway_requests_in_flight',
    help: 'Inference requests that are being read, waiting or answered.',
    registers,
    collect() {
      this.set(inFlight());
    },
  });
  const info = new Gauge({
    name: 'slipway_model_info',
    help: 'The model that is served; always 1.',
    labelNames: ['name', 'version', 'digest', 'revision'],
    registers,
  });
  const loadSeconds = new Gauge({
    name: 'slipway_model_load_seconds',
    help: 'Time to fetch, verify, load and warm the model.',
    registers,
  });

  const counters = { requests: 0, refused: 0, failed: 0, abandoned: 0 };
  const latency = new GrowingHistogram();
  const count = (code: number, seconds: number) => {
    counters.requests++;
    if (code === abandonedCode) counters.abandoned++;
    else if (code >= 500) counters.failed++;
    else if (code >= 400) counters.refused++;
    latency.observe(seconds);
  };

  return {
    contentType: registry.contentType,
    exposition: () => registry.metrics(),
    observe(request, response) {
      const start = performance.now();
      response.once('close', () => {
        const route = routeOf(request);
        const code = response.writableFinished ? response.statusCode : abandonedCode;
        const seconds = (performance.now() - start) / 1000;
        requests.inc({ route, code });
        durations.observe({ route }, seconds);
        if (request.method === 'POST') count(code, seconds);
      });
    },
    measures: () => ({ counters: { ...counters }, latency: latency.now }),
    observeInference: (seconds) => inferences.observe(seconds),
    modelLoaded(report, revision, seconds) {
      info.set({ ...report, revision: revision ?? '' }, 1);
      loadSeconds.set(seconds);
    },
  };
}

/** A fixed set of values: a path that a client made up never becomes a label. */
function routeOf(request: Request): string {
  const path: unknown = request.route?.path;
  if (typeof path === 'string') return path;
  if (!Array.isArray(path)) return 'unknown';
  const [withoutVersion, withVersion]: unknown[] = path;
  return String(request.params['version'] === undefined ? withoutVersion : withVersion);
}

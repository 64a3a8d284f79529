import { setTimeout as sleep } from 'node:timers/promises';
import type { DiagLogger, Span, SpanContext, Tracer } from '@opentelemetry/api';
import type { Logger } from 'pino';
import type { ModelIdentity } from '../protocol/open-inference.ts';

/** When the stages of an inference ended, in milliseconds of performance.now(). */
export interface Stages {
  /** Its body was there. */
  received?: number;
  /** Its answer was made. */
  answered?: number;
  /** What the model itself took, before that. */
  computedMilliseconds?: number;
  /** The revision that was asked in this pod's place, whoever answered in the end. */
  passedOnTo?: string;
}

/** One request that has ended, as a trace tells it. */
export interface TracedRequest {
  readonly method: string;
  readonly route: string;
  readonly path: string;
  readonly status: number;
  /** The header of the W3C's Trace Context, if there was one. */
  readonly traceparent: string | undefined;
  readonly start: number;
  readonly end: number;
  readonly stages: Stages;
}

export interface Tracing {
  record(request: TracedRequest): void;
  /** Sends what was not sent yet. */
  end(): Promise<void>;
}

const endMilliseconds = 3000;

/** The variables of OpenTelemetry that switch it on. */
const endpoints = ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'];

/**
 * Sends traces over OTLP where OpenTelemetry's own variables name an endpoint, of the share of requests that
 * OTEL_TRACES_SAMPLER_ARG says (all, when absent) or that the caller's traceparent asks for. Nothing of it is loaded
 * otherwise.
 */
export async function openTracing(
  model: ModelIdentity,
  revision: string | undefined,
  log: Logger,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<Tracing | undefined> {
  if (!isWanted(environment)) return undefined;
  const [api, sdk, { OTLPTraceExporter }, resources] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/exporter-trace-otlp-proto'),
    import('@opentelemetry/resources'),
  ]);
  api.diag.setLogger(complaints(log), api.DiagLogLevel.WARN);
  const own = resources.resourceFromAttributes({
    'service.name': environment['OTEL_SERVICE_NAME'] || model.name,
    'service.version': model.version,
    ...(revision === undefined ? {} : { 'slipway.revision': revision }),
  });
  // OTEL_RESOURCE_ATTRIBUTES
  const resource = own.merge(resources.detectResources({ detectors: [resources.envDetector] }));
  const root = new sdk.TraceIdRatioBasedSampler(shareOf(environment));
  const provider = new sdk.TracerProvider({
    resource,
    sampler: new sdk.ParentBasedSampler({ root }),
    spanProcessors: [new sdk.BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
  });
  const tracer = provider.getTracer('slipway');
  return {
    record(request) {
      const parent = parseTraceparent(request.traceparent);
      const context = parent === undefined ? api.ROOT_CONTEXT : api.trace.setSpanContext(api.ROOT_CONTEXT, parent);
      const attributes = {
        'http.request.method': request.method,
        'http.route': request.route,
        'url.path': request.path,
        'http.response.status_code': request.status,
        'slipway.model': model.name,
      };
      const span = tracer.startSpan(
        `${request.method} ${request.route}`,
        { kind: api.SpanKind.SERVER, attributes, startTime: dateOf(request.start) },
        context,
      );
      if (span.isRecording())
        recordStages(tracer, span, request, (parentSpan) => api.trace.setSpan(context, parentSpan));
      if (request.status >= 500) span.setStatus({ code: api.SpanStatusCode.ERROR });
      span.end(dateOf(request.end));
    },
    async end() {
      // A collector that is away, or slow, does not hold up the end.
      await Promise.race([
        provider.shutdown().catch(() => undefined),
        sleep(endMilliseconds, undefined, { ref: false }),
      ]);
    },
  };
}

/** As OpenTelemetry's specification has it: an empty variable is none, and an endpoint is not all. */
function isWanted(environment: NodeJS.ProcessEnv): boolean {
  if (environment['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return false;
  if (environment['OTEL_TRACES_EXPORTER'] === 'none') return false;
  return endpoints.some((name) => (environment[name] ?? '') !== '');
}

/** The share of requests without a parent that are traced. */
function shareOf(environment: NodeJS.ProcessEnv): number {
  const sampler = environment['OTEL_TRACES_SAMPLER'] ?? '';
  if (sampler.endsWith('always_off')) return 0;
  if (sampler.endsWith('always_on')) return 1;
  const share = Number(environment['OTEL_TRACES_SAMPLER_ARG'] || 1);
  return share >= 0 && share <= 1 ? share : 1;
}

const complaintMilliseconds = 60_000;

/** What the library complains of, such as a collector that is away, is told once a minute. */
function complaints(log: Logger): DiagLogger {
  let last = Number.NEGATIVE_INFINITY;
  const warn = (reason: string) => {
    if (performance.now() - last < complaintMilliseconds) return;
    last = performance.now();
    log.warn({ reason }, 'traces are lost');
  };
  const nothing = () => undefined;
  return { error: warn, warn, info: nothing, debug: nothing, verbose: nothing };
}

type Context = Parameters<Tracer['startSpan']>[2];

function recordStages(
  tracer: Tracer,
  parent: Span,
  { start, end, stages }: TracedRequest,
  within: (span: Span) => Context,
): void {
  const { received, answered, computedMilliseconds } = stages;
  const child = (name: string, from: number, to: number) =>
    tracer.startSpan(name, { startTime: dateOf(from) }, within(parent)).end(dateOf(to));
  if (received === undefined) return;
  child('receive', start, received);
  if (answered === undefined) return;
  const computing = Math.max(received, answered - (computedMilliseconds ?? 0));
  child('wait', received, computing);
  if (computedMilliseconds !== undefined) child('compute', computing, answered);
  child('send', answered, end);
}

function dateOf(milliseconds: number): number {
  return performance.timeOrigin + milliseconds;
}

/** Reads version 00 of the header `traceparent` (W3C Trace Context); undefined for what is none. */
function parseTraceparent(header: string | undefined): SpanContext | undefined {
  const [, traceId, spanId, flags] =
    /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(header ?? '') ?? [];
  if (traceId === undefined || spanId === undefined || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, traceFlags: Number.parseInt(flags ?? '0', 16) & 1, isRemote: true };
}

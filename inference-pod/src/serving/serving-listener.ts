import type { RequestListener } from 'node:http';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import type { Wire } from '../protocol/wires.ts';
import type { AccessLog } from '../telemetry/access-log.ts';
import { abandonedCode, type Telemetry } from '../telemetry/metrics.ts';
import { pathOf, type RequestRoute, routeOf } from '../telemetry/routes.ts';
import type { Stages, Tracing } from '../telemetry/tracing.ts';
import type { Traffic } from '../traffic/traffic.ts';
import type { Inference } from './inference-route.ts';
import type { Lifecycle } from './lifecycle.ts';

export interface ServingListenerOptions {
  readonly model: ModelIdentity;
  readonly revision: string | undefined;
  readonly telemetry: Telemetry;
  readonly lifecycle: Lifecycle;
  readonly infer: Inference;
  readonly traffic: Pick<Traffic, 'share'>;
  readonly accessLog: AccessLog;
  readonly tracing: Tracing | undefined;
  /** Answers everything else. */
  readonly app: RequestListener;
}

/** A path that asks for an inference. */
interface Target {
  readonly route: RequestRoute;
  readonly wire: Wire;
  /** The version that it names. */
  readonly version: string | undefined;
}

function targetsOfVersion(name: string, version: string): readonly (readonly [string, Target])[] {
  return [
    [
      `/v2/models/${name}/versions/${version}/infer`,
      { route: '/v2/models/:name/versions/:version/infer', wire: 'open-inference', version },
    ],
    [
      `/v1/models/${name}/versions/${version}:predict`,
      { route: '/v1/models/:name/versions/:version:predict', wire: 'predict', version },
    ],
  ];
}

/** Every request of the serving port. Inferences do not pass through the app, which costs more than a small model. */
export function createServingListener(options: ServingListenerOptions): RequestListener {
  const { model, revision, telemetry, lifecycle, infer, app, accessLog, tracing, traffic } = options;
  const { name, version } = model;
  const targets = new Map<string, Target>([
    [`/v2/models/${name}/infer`, { route: '/v2/models/:name/infer', wire: 'open-inference', version: undefined }],
    [`/v1/models/${name}:predict`, { route: '/v1/models/:name:predict', wire: 'predict', version: undefined }],
    ...targetsOfVersion(name, version),
  ]);
  let canary: { readonly version: string; readonly targets: ReadonlyMap<string, Target> } | undefined;
  /** The version of a canary is asked for here as well. */
  const canaryTarget = (url: string): Target | undefined => {
    const { share } = traffic;
    if (share === undefined) return undefined;
    if (canary?.version !== share.version)
      canary = { version: share.version, targets: new Map(targetsOfVersion(name, share.version)) };
    return canary.targets.get(url);
  };
  return (request, response) => {
    const start = performance.now();
    const url = request.url ?? '';
    const target = targets.get(url) ?? canaryTarget(url);
    const stages: Stages = {};
    response.on('close', () => {
      const code = response.writableFinished ? response.statusCode : abandonedCode;
      const end = performance.now();
      const route = target?.route ?? routeOf(url);
      telemetry.answered(route, code, (end - start) / 1000, stages.passedOnTo === undefined);
      if (accessLog === undefined && tracing === undefined) return;
      const { method = '' } = request;
      const path = pathOf(url);
      accessLog?.({ method, path, route, status: code, seconds: (end - start) / 1000 });
      const traceparent = request.headers['traceparent'];
      const parent = typeof traceparent === 'string' ? traceparent : undefined;
      tracing?.record({ method, route, path, status: code, traceparent: parent, start, end, stages });
    });
    if (revision !== undefined) response.setHeader('x-slipway-revision', revision);
    if (lifecycle.state.kind === 'draining') response.setHeader('connection', 'close');
    if (request.method === 'POST' && target !== undefined)
      infer(request, response, target.wire, target.version, stages);
    else app(request, response);
  };
}

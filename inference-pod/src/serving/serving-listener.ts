import type { RequestListener } from 'node:http';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import type { Wire } from '../protocol/wires.ts';
import { abandonedCode, type Telemetry } from '../telemetry/metrics.ts';
import { type RequestRoute, routeOf } from '../telemetry/routes.ts';
import type { Inference } from './inference-route.ts';
import type { Lifecycle } from './lifecycle.ts';

export interface ServingListenerOptions {
  readonly model: ModelIdentity;
  readonly revision: string | undefined;
  readonly telemetry: Telemetry;
  readonly lifecycle: Lifecycle;
  readonly infer: Inference;
  /** Answers everything else. */
  readonly app: RequestListener;
}

/** Every request of the serving port. Inferences do not pass through the app, which costs more than a small model. */
export function createServingListener(options: ServingListenerOptions): RequestListener {
  const { model, revision, telemetry, lifecycle, infer, app } = options;
  const { name, version } = model;
  const targets = new Map<string, { readonly route: RequestRoute; readonly wire: Wire }>([
    [`/v2/models/${name}/infer`, { route: '/v2/models/:name/infer', wire: 'open-inference' }],
    [
      `/v2/models/${name}/versions/${version}/infer`,
      { route: '/v2/models/:name/versions/:version/infer', wire: 'open-inference' },
    ],
    [`/v1/models/${name}:predict`, { route: '/v1/models/:name:predict', wire: 'predict' }],
    [
      `/v1/models/${name}/versions/${version}:predict`,
      { route: '/v1/models/:name/versions/:version:predict', wire: 'predict' },
    ],
  ]);
  return (request, response) => {
    const start = performance.now();
    const url = request.url ?? '';
    const target = targets.get(url);
    response.on('close', () => {
      const code = response.writableFinished ? response.statusCode : abandonedCode;
      telemetry.answered(target?.route ?? routeOf(url), code, (performance.now() - start) / 1000);
    });
    if (revision !== undefined) response.setHeader('x-slipway-revision', revision);
    if (lifecycle.state.kind === 'draining') response.setHeader('connection', 'close');
    if (request.method === 'POST' && target !== undefined) infer(request, response, target.wire);
    else app(request, response);
  };
}

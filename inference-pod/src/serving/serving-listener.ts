import type { RequestListener } from 'node:http';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import { abandonedCode, type Telemetry } from '../telemetry/metrics.ts';
import { type RequestRoute, routeOf } from '../telemetry/routes.ts';
import type { Lifecycle } from './lifecycle.ts';

export interface ServingListenerOptions {
  readonly model: ModelIdentity;
  readonly revision: string | undefined;
  readonly telemetry: Telemetry;
  readonly lifecycle: Lifecycle;
  readonly infer: RequestListener;
  /** Answers everything else. */
  readonly app: RequestListener;
}

/** Every request of the serving port. Inferences do not pass through the app, which costs more than a small model. */
export function createServingListener(options: ServingListenerOptions): RequestListener {
  const { model, revision, telemetry, lifecycle, infer, app } = options;
  const path = `/v2/models/${model.name}`;
  const targets = new Map<string, RequestRoute>([
    [`${path}/infer`, '/v2/models/:name/infer'],
    [`${path}/versions/${model.version}/infer`, '/v2/models/:name/versions/:version/infer'],
  ]);
  return (request, response) => {
    const start = performance.now();
    const url = request.url ?? '';
    const target = targets.get(url);
    response.on('close', () => {
      const code = response.writableFinished ? response.statusCode : abandonedCode;
      telemetry.answered(target ?? routeOf(url), code, (performance.now() - start) / 1000);
    });
    if (revision !== undefined) response.setHeader('x-slipway-revision', revision);
    if (lifecycle.state.kind === 'draining') response.setHeader('connection', 'close');
    if (request.method === 'POST' && target !== undefined) infer(request, response);
    else app(request, response);
  };
}

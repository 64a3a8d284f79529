import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { type AddressInfo, connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { call, clientOf } from './grpc-client.ts';
import { get, post } from './http.ts';
import { exampleModel } from './models.ts';
import { failToStart, startPod, startPodIn } from './running-pod.ts';

const model = ['--model', exampleModel('iris', '1').path, '--model-name', 'iris'];
const input = { name: 'X', datatype: 'FP32', shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] };

let server: Server;
let url: string;
let received: { readonly path: string; readonly body: Buffer }[];
beforeEach(async () => {
  received = [];
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      received.push({ path: request.url ?? '', body: Buffer.concat(chunks) });
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => new Promise((resolve) => server.close(resolve)));

test('traces go where the variables of OpenTelemetry say, continue those of callers, and tell the stages', async () => {
  const pod = await startPodIn({ environment: { OTEL_EXPORTER_OTLP_ENDPOINT: url } }, ...model);
  const trace = '0123456789abcdef0123456789abcdef';
  const traceparent = `00-${trace}-0123456789abcdef-01`;
  await post(`${pod.url}/v2/models/iris/infer?key=secret`, { inputs: [input] }, { traceparent });
  await post(`${pod.url}/v2/models/iris/infer`, { inputs: [input] }, { traceparent });
  const unsampled = 'fedcba9876543210fedcba9876543210';
  await post(`${pod.url}/v2/models/iris/infer`, {}, { traceparent: `00-${unsampled}-0123456789abcdef-00` });
  const client = clientOf(pod.grpcAddress, 'open_inference_grpc.proto', 'inference.GRPCInferenceService');
  await call(client, 'ServerLive', {});
  client.close();
  // What was not sent yet is sent at the end.
  await pod.stop();
  expect(new Set(received.map(({ path }) => path))).toEqual(new Set(['/v1/traces']));
  const bytes = Buffer.concat(received.map(({ body }) => body));
  const text = bytes.toString('latin1');
  for (const name of ['POST /v2/models/:name/infer', 'receive', 'wait', 'compute', 'send', 'gRPC /inference.GRPC']) {
    expect(text).toContain(name);
  }
  expect(text).not.toContain('secret');
  expect(bytes.includes(Buffer.from(trace, 'hex'))).toBe(true);
  expect(bytes.includes(Buffer.from(unsampled, 'hex'))).toBe(false);
});

test('a collector that is away costs no request', async () => {
  const pod = await startPodIn({ environment: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' } }, ...model);
  for (let index = 0; index < 20; index++) {
    expect((await post(`${pod.url}/v2/models/iris/infer`, { inputs: [input] })).status).toBe(200);
  }
  await pod.stop();
  expect(await pod.exit).toBe(0);
});

test.each<[string, Record<string, string>]>([
  ['is switched off', { OTEL_SDK_DISABLED: 'true' }],
  ['exports no traces', { OTEL_TRACES_EXPORTER: 'none' }],
  ['samples nothing', { OTEL_TRACES_SAMPLER: 'parentbased_always_off' }],
])('a pod that %s by the variables of OpenTelemetry sends nothing', async (_name, environment) => {
  const pod = await startPodIn({ environment: { OTEL_EXPORTER_OTLP_ENDPOINT: url, ...environment } }, ...model);
  await post(`${pod.url}/v2/models/iris/infer`, { inputs: [input] });
  await pod.stop();
  expect(received).toEqual([]);
});

test('empty variables of OpenTelemetry are none, and those of the resource are told', async () => {
  const environment = {
    OTEL_EXPORTER_OTLP_ENDPOINT: url,
    OTEL_TRACES_SAMPLER_ARG: '',
    OTEL_SERVICE_NAME: '',
    OTEL_RESOURCE_ATTRIBUTES: 'k8s.pod.name=iris-0',
  };
  const pod = await startPodIn({ environment }, ...model);
  await post(`${pod.url}/v2/models/iris/infer`, { inputs: [input] });
  await pod.stop();
  const text = Buffer.concat(received.map(({ body }) => body)).toString('latin1');
  for (const told of ['compute', 'iris-0', 'service.name']) expect(text).toContain(told);
});

test('neither queries nor who stands before a host are in the access log', async () => {
  const pod = await startPod(...model, '--access-log-percent', '100');
  const client = connect(Number(new URL(pod.url).port), '127.0.0.1');
  client.write('GET http://user:hidden@host/v2?token=hidden HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  client.resume();
  await once(client, 'close');
  const session = connectHttp2(`http://${pod.grpcAddress}`);
  const stream = session.request({
    ':method': 'POST',
    ':path': '/inference.GRPCInferenceService/ServerLive?token=hidden',
    'content-type': 'application/grpc',
  });
  stream.resume().end(Buffer.alloc(5));
  await once(stream, 'close');
  session.close();
  await pod.stop();
  const paths = pod.logs.filter(({ access }) => access === true).map(({ path }) => path);
  expect(paths).toEqual(['/v2', '/inference.GRPCInferenceService/ServerLive']);
  expect(pod.output()).not.toContain('hidden');
});

test('a log that nobody reads does not hold up the pod', async () => {
  const pod = await startPod(...model, '--access-log-percent', '100');
  pod.process.stdout?.pause();
  const path = `/v2/${'x'.repeat(4000)}`;
  for (let index = 0; index < 3000; index++) await fetch(`${pod.url}${path}`).then((answer) => answer.text());
  expect((await get(`${pod.url}/v2/health/live`)).status).toBe(200);
  pod.process.stdout?.resume();
  await pod.stop();
  expect(await pod.exit).toBe(0);
}, 60_000);

test('the access log has the share of requests that was asked for, without queries, and every failure', async () => {
  const whole = await startPod(...model, '--access-log-percent', '100');
  await post(`${whole.url}/v2/models/iris/infer?key=secret`, { inputs: [input] });
  await get(`${whole.url}/v2/models/other`);
  await whole.stop();
  const lines = whole.logs.filter(({ access }) => access === true);
  expect(lines).toEqual([
    expect.objectContaining({
      msg: 'request',
      method: 'POST',
      path: '/v2/models/iris/infer',
      route: '/v2/models/:name/infer',
      status: 200,
      seconds: expect.any(Number),
    }),
    expect.objectContaining({ method: 'GET', path: '/v2/models/other', route: '/v2/models/:name', status: 404 }),
  ]);
  const silent = await startPod(...model);
  await get(`${silent.url}/v2/models/other`);
  await silent.stop();
  expect(silent.logs.some(({ access }) => access === true)).toBe(false);
}, 20_000);

test('a pod that is loading says how far it is, in its metrics', async () => {
  const slow = createServer((_request, response) => {
    response.writeHead(200, { 'content-length': '1000000' });
    response.write(Buffer.alloc(250_000));
  });
  await new Promise<void>((resolve) => slow.listen(0, '127.0.0.1', resolve));
  const uri = `http://127.0.0.1:${(slow.address() as AddressInfo).port}/model.onnx`;
  const control = createServer();
  await new Promise<void>((resolve) => control.listen(0, '127.0.0.1', resolve));
  const { port } = control.address() as AddressInfo;
  await new Promise((resolve) => control.close(resolve));
  const options = ['--model-uri', uri, '--fetch-timeout-seconds', '8', '--control-port', String(port)];
  const failure = failToStart(...options);
  let metrics = '';
  for (let tries = 0; tries < 100 && !metrics.includes('slipway_model_fetched_bytes 250000'); tries++) {
    await sleep(50);
    metrics = await get(`http://127.0.0.1:${port}/metrics`).then(
      ({ text }) => text,
      () => '',
    );
  }
  expect(metrics).toContain('slipway_model_fetched_bytes 250000');
  expect(metrics).toContain('slipway_model_file_bytes 1000000');
  expect(metrics).toMatch(/slipway_model_loading_seconds\{stage="fetching"\} [\d.]+/);
  const progress = JSON.parse((await get(`http://127.0.0.1:${port}/loading`)).text);
  expect(progress).toEqual({
    ...{ stage: 'fetching', bytes: 250_000, totalBytes: 1_000_000 },
    ...{ seconds: expect.any(Number), startTime: expect.any(Number) },
  });
  expect((await failure).terminationMessage).toMatchObject({ reason: 'ModelFetchFailed' });
  slow.closeAllConnections();
  slow.close();
}, 30_000);

test('what a loaded model holds in memory is measured', async () => {
  const pod = await startPod(...model);
  const { text } = await get(`${pod.controlUrl}/metrics`);
  expect((await get(`${pod.controlUrl}/loading`)).status).toBe(404);
  await pod.stop();
  const [, bytes] = /^slipway_model_memory_bytes (\d+)$/m.exec(text) ?? [];
  expect(Number(bytes)).toBeGreaterThan(20e6);
  expect(text).not.toContain('slipway_model_loading_seconds');
  expect(pod.logs).toContainEqual(
    expect.objectContaining({ msg: 'the model is loaded', memoryBytes: Number(bytes), seconds: expect.any(Number) }),
  );
});

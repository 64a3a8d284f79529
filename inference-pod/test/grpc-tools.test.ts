import { readFileSync } from 'node:fs';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Caller, clientOf, type Message } from './grpc-client.ts';
import { exampleModel } from './models.ts';
import { type RunningPod, startPod } from './running-pod.ts';

/** What tools learn of the services, and how they are told of its health. */
const model = ['--model', exampleModel('iris', '1').path, '--model-name', 'iris'];
const services = [
  'grpc.health.v1.Health',
  'inference.GRPCInferenceService',
  'tensorflow.serving.PredictionService',
  'tensorflow.serving.ModelService',
  'grpc.reflection.v1.ServerReflection',
];

/** The answers of a call, and how it ended. */
async function answersOf(stream: Message): Promise<{ answers: Message[]; code: number }> {
  const answers: Message[] = [];
  stream.on('data', (answer: Message) => answers.push(answer));
  const code = await new Promise<number>((resolve) => {
    stream.on('end', () => resolve(status.OK));
    stream.on('error', (error: { code: number }) => resolve(error.code));
  });
  return { answers, code };
}

describe('reflection', () => {
  let pod: RunningPod;
  let client: Caller;
  beforeAll(async () => {
    pod = await startPod(...model);
    client = clientOf(pod.grpcAddress, 'reflection.proto', 'grpc.reflection.v1.ServerReflection');
  });
  afterAll(async () => {
    client.close();
    await pod.stop();
  });

  async function ask(...requests: object[]): Promise<Message[]> {
    const stream = client['ServerReflectionInfo']?.();
    for (const request of requests) stream.write(request);
    stream.end();
    const { answers, code } = await answersOf(stream);
    expect(code).toBe(status.OK);
    return answers;
  }

  test('lists the services', async () => {
    const [answer] = await ask({ list_services: '*' });
    expect(answer.list_services_response.service).toEqual(services.map((name) => ({ name })));
    expect(answer.original_request.list_services).toBe('*');
  });

  test('tells the file of each symbol with those that it imports, and several in one call', async () => {
    const answers = await ask(
      { file_containing_symbol: 'inference.GRPCInferenceService' },
      { file_containing_symbol: 'tensorflow.serving.PredictionService.Predict' },
      { file_by_filename: 'health.proto' },
    );
    const names = answers.map(({ file_descriptor_response: { file_descriptor_proto } }) =>
      // The name of a file is the first field of its descriptor.
      file_descriptor_proto.map((bytes: Buffer) => bytes.toString('latin1', 2, 2 + (bytes[1] ?? 0))),
    );
    expect(names).toEqual([
      ['open_inference_grpc.proto'],
      ['tensorflow_serving.proto', 'tensorflow.proto', 'google/protobuf/any.proto', 'google/protobuf/wrappers.proto'],
      ['health.proto'],
    ]);
  });

  test('says what it does not have', async () => {
    const answers = await ask(
      { file_containing_symbol: 'no.Such' },
      { file_by_filename: 'none.proto' },
      { all_extension_numbers_of_type: 'no.Such' },
    );
    expect(answers.map(({ error_response }) => error_response.error_code)).toEqual([5, 5, 5]);
  });
});

describe('who watches', () => {
  const place = '/grpc.health.v1.Health/Watch';
  let pod: RunningPod;
  beforeAll(async () => {
    pod = await startPod(...model);
  });
  afterAll(() => pod.stop());

  const watch = (session: ClientHttp2Session) => {
    const headers = { ':method': 'POST', ':path': place, 'content-type': 'application/grpc', 'grpc-encoding': 'gzip' };
    const stream = session.request(headers);
    stream.on('error', () => undefined);
    return stream;
  };

  test('and goes away while its message is inflated leaves its place', async () => {
    const message = gzipSync(Buffer.alloc(0));
    const framed = Buffer.concat([Buffer.from([1, 0, 0, 0, message.length]), message]);
    for (let connection = 0; connection < 3; connection++) {
      const session = connectHttp2(`http://${pod.grpcAddress}`);
      session.on('error', () => undefined);
      const streams = Array.from({ length: 500 }, () => watch(session));
      for (const stream of streams) stream.write(framed);
      await sleep(2);
      for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
      await sleep(500);
      session.destroy();
    }
    const client = clientOf(pod.grpcAddress, 'health.proto', 'grpc.health.v1.Health');
    const late = await answersOf(client['Watch']?.({}, { deadline: Date.now() + 3000 }));
    client.close();
    expect(late).toEqual({ answers: [{ status: 'SERVING' }], code: status.DEADLINE_EXCEEDED });
  }, 60_000);

  test('and goes on sending parks nothing in the pod', async () => {
    const held = () => Number(readFileSync(`/proc/${pod.process.pid}/statm`, 'utf8').split(' ')[1]) * 4096;
    const before = held();
    const sessions = Array.from({ length: 80 }, () => connectHttp2(`http://${pod.grpcAddress}`));
    for (const session of sessions) {
      session.on('error', () => undefined);
      const stream = watch(session);
      stream.write(Buffer.alloc(5));
      stream.write(Buffer.alloc(3_900_000));
    }
    await sleep(5000);
    expect(held() - before).toBeLessThan(160 * 2 ** 20);
    for (const session of sessions) session.destroy();
  }, 60_000);
});

test('a call that has nothing in hand does not hold up the end', async () => {
  const pod = await startPod(...model);
  const inference = clientOf(pod.grpcAddress, 'open_inference_grpc.proto', 'inference.GRPCInferenceService');
  const reflected = clientOf(pod.grpcAddress, 'reflection.proto', 'grpc.reflection.v1.ServerReflection');
  const idle = inference['ModelStreamInfer']?.();
  const answered = reflected['ServerReflectionInfo']?.();
  answered.write({ list_services: '' });
  await new Promise((resolve) => answered.once('data', resolve));
  const ends = [answersOf(idle), answersOf(answered)];
  const start = performance.now();
  await pod.stop();
  // Far below what a request may take, which is 30 s.
  expect(performance.now() - start).toBeLessThan(15_000);
  expect((await Promise.all(ends)).map(({ code }) => code)).toEqual([status.UNAVAILABLE, status.UNAVAILABLE]);
  inference.close();
  reflected.close();
}, 60_000);

test('who watches the health is told of the end before it comes, and the end does not wait for it', async () => {
  const pod = await startPod(...model, '--drain-seconds', '1');
  const client = clientOf(pod.grpcAddress, 'health.proto', 'grpc.health.v1.Health');
  const watched = answersOf(client['Watch']?.({ service: 'inference.GRPCInferenceService' }));
  const unknown = answersOf(client['Watch']?.({ service: 'other' }));
  const late = await answersOf(client['Watch']?.({}, { deadline: Date.now() + 500 }));
  expect(late).toEqual({ answers: [{ status: 'SERVING' }], code: status.DEADLINE_EXCEEDED });
  await pod.stop();
  expect(await watched).toEqual({
    answers: [{ status: 'SERVING' }, { status: 'NOT_SERVING' }],
    code: status.UNAVAILABLE,
  });
  expect(await unknown).toEqual({ answers: [{ status: 'SERVICE_UNKNOWN' }], code: status.UNAVAILABLE });
  client.close();
});

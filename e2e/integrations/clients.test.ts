import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { pythonWith } from '../../inference-pod/test/clients/environment.ts';
import { exampleModel, testModel } from '../../inference-pod/test/models.ts';
import { type RunningPod, startPod } from '../../inference-pod/test/running-pod.ts';

const run = promisify(execFile);
const clients = join(import.meta.dirname, 'clients');
const installing = 900_000;

let pod: RunningPod;
beforeAll(async () => {
  pod = await startPod('--model', exampleModel('iris', '1').path, '--model-name', 'iris', '--model-version', '3');
});
afterAll(() => pod.stop());

async function ask(script: string, requirements: string, args: readonly string[], more?: string): Promise<unknown> {
  const lists = more === undefined ? [] : [join(clients, more)];
  const python = await pythonWith(join(clients, requirements), ...lists);
  const { stdout } = await run(python, [join(clients, script), ...args]);
  return JSON.parse(stdout);
}

test(
  "TensorFlow Serving's own client works as it is",
  async () => {
    const answer = ask('ask_tensorflow_serving.py', 'tensorflow.txt', [pod.grpcAddress], 'tensorflow-serving.txt');
    expect(await answer).toEqual({
      predict: { label: [0, 2], probabilities: [expect.any(Array), expect.any(Array)] },
      classify: [0.9697, 0.0003].map((score) => [
        ['0', expect.closeTo(score, 4)],
        ['1', expect.any(Number)],
        ['2', expect.any(Number)],
      ]),
      regress: 'INVALID_ARGUMENT',
      metadata: [1, ['label', 'probabilities'], 3],
      status: [30],
    });
  },
  installing,
);

test(
  "KServe's own client works as it is",
  async () => {
    expect(await ask('ask_kserve.py', 'kserve.txt', [pod.url, pod.grpcAddress])).toEqual({
      v1: [0, 2],
      'v1 ready': true,
      'v2 live': true,
      'v2 ready': true,
      'v2 json': [0, 2],
      'v2 binary': [0, 2],
      'grpc ready': true,
      grpc: [0, 2],
    });
  },
  installing,
);

test(
  "gRPC's own tools learn the services, and are told of the health",
  async () => {
    expect(await ask('ask_grpc_tools.py', 'grpc-tools.txt', [pod.grpcAddress])).toMatchObject({
      health: 1,
      services: {
        'inference.GRPCInferenceService': expect.arrayContaining(['ModelInfer', 'ModelStreamInfer']),
        'tensorflow.serving.PredictionService': ['Classify', 'Regress', 'Predict', 'GetModelMetadata'],
        'tensorflow.serving.ModelService': ['GetModelStatus'],
        'grpc.health.v1.Health': ['Check', 'Watch'],
      },
    });
  },
  installing,
);

test.each([
  ['iris', exampleModel('iris', '1').path],
  ['types', testModel('types')],
])(
  'schemathesis finds nothing between the OpenAPI document of %s and what is answered',
  async (name, path) => {
    const python = await pythonWith(join(clients, 'schemathesis.txt'));
    const served = await startPod('--model', path, '--model-name', name);
    try {
      const config = ['--config-file', join(clients, 'schemathesis.toml')];
      const options = ['--max-examples', '40', '--seed', '1', '--no-color'];
      const command = [...config, 'run', `${served.url}/openapi.json`, ...options];
      const { stdout } = await run(python, ['-m', 'schemathesis.cli', ...command]).catch((error) => error);
      expect(stdout).toContain('No issues found');
    } finally {
      await served.stop();
    }
  },
  installing,
);

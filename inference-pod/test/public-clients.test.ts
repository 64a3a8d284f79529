import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { pythonWith } from './clients/environment.ts';
import { exampleModel } from './models.ts';
import { startPod } from './running-pod.ts';

const run = promisify(execFile);

test("Triton's own client works as it is, over HTTP and gRPC", async () => {
  const python = await pythonWith(join(import.meta.dirname, 'clients/requirements.txt'));
  const pod = await startPod('--model', exampleModel('iris', '1').path, '--model-name', 'iris', '--model-version', '3');
  try {
    const script = join(import.meta.dirname, 'clients/triton.py');
    const { stdout } = await run(python, [script, new URL(pod.url).host, pod.grpcAddress]);
    const found: Record<string, unknown> = JSON.parse(stdout);
    const answer = [
      [0, 2],
      [expect.any(Array), expect.any(Array)],
    ];
    const classes = [
      [0, 2],
      [
        ['0.969659:0', '0.030333:1'],
        ['0.965972:2', '0.033744:1'],
      ],
    ];
    const both = {
      live: true,
      ready: true,
      'model ready': true,
      metadata: 'X',
      unknown: expect.stringContaining("there is no model 'other' here, only 'iris'"),
      infer: answer,
      version: answer,
      classes,
      config: 'TYPE_FP32',
      index: 'READY',
      statistics: expect.any(Number),
      gzip: answer,
    };
    const prefixed = (prefix: string) =>
      Object.fromEntries(Object.entries(both).map(([name, value]) => [`${prefix} ${name}`, value]));
    expect(found).toEqual({
      ...prefixed('http'),
      ...prefixed('grpc'),
      'http json': answer,
      'http deflate': answer,
      'grpc stream': ['0', '1', '2'],
    });
    expect(found['http infer']).toEqual(found['grpc infer']);
    expect(found['http infer']).toEqual(found['http json']);
  } finally {
    await pod.stop();
  }
}, 300_000);

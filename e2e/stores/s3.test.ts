import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { exampleModel } from '../../inference-pod/test/models.ts';
import { failToStartIn, startPodIn } from '../../inference-pod/test/running-pod.ts';
import { ensureBinaries } from '../cluster/binaries.ts';

/** Models of a store that speaks S3 and checks every signature (versitygw). */
const keys = { AWS_ACCESS_KEY_ID: 'the-key', AWS_SECRET_ACCESS_KEY: 'the-secret-of-the-store' };
/** Of which every character has to be signed as it is sent. */
const key = 'iris/v1 (final)/a+b=c&d~é*!.onnx';

let folder: string;
let store: ChildProcess;
let endpoint: string;
let sha256: string;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== 'object' || address === null) throw new Error('there is no port');
  return address.port;
}

beforeAll(async () => {
  const { versitygw } = await ensureBinaries('versitygw');
  folder = await mkdtemp(join(tmpdir(), 'slipway-s3-'));
  const bytes = await readFile(exampleModel('iris', '1').path);
  sha256 = createHash('sha256').update(bytes).digest('hex');
  // Its buckets are folders, and its objects files.
  const object = join(folder, 'data/models', key);
  await mkdir(join(object, '..'), { recursive: true });
  await mkdir(join(folder, 'meta'));
  await writeFile(object, bytes);
  const port = await freePort();
  endpoint = `http://127.0.0.1:${port}`;
  const env = { ...process.env, ROOT_ACCESS_KEY: keys.AWS_ACCESS_KEY_ID, ROOT_SECRET_KEY: keys.AWS_SECRET_ACCESS_KEY };
  const args = ['--port', `127.0.0.1:${port}`, 'posix', '--sidecar', join(folder, 'meta'), join(folder, 'data')];
  store = spawn(versitygw, args, { env, stdio: 'ignore' });
  for (let tries = 0; tries < 100; tries++) {
    if (
      await fetch(endpoint).then(
        () => true,
        () => false,
      )
    )
      return;
    await sleep(100);
  }
  throw new Error('the store does not answer');
}, 600_000);
afterAll(async () => {
  store.kill();
  await rm(folder, { recursive: true });
});

/** What a Secret is where it is mounted: a folder with a file for each key. */
async function secretOf(values: Readonly<Record<string, string>>): Promise<string> {
  const secret = await mkdtemp(join(folder, 'secret-'));
  for (const [name, value] of Object.entries(values)) await writeFile(join(secret, name), `${value}\n`);
  return secret;
}

const uri = `s3://models/${key}`;
const withSecret = async (values: Readonly<Record<string, string>>) => [
  '--credentials-directory',
  await secretOf({ AWS_ENDPOINT_URL: endpoint, ...values }),
];
const noInstance = { AWS_EC2_METADATA_DISABLED: 'true' };

describe('a model comes from S3', () => {
  test('with the keys of a Secret, which nothing tells', async () => {
    const pod = await startPodIn({}, '--model-uri', uri, '--model-sha256', sha256, ...(await withSecret(keys)));
    await pod.stop();
    expect(pod.logs).toContainEqual(expect.objectContaining({ msg: 'the model file is here', sha256, fetched: true }));
    for (const value of Object.values(keys)) expect(pod.output()).not.toContain(value);
  });

  test("with the keys of the pod's own environment, as AWS's chain finds them", async () => {
    const environment = { ...keys, AWS_ENDPOINT_URL_S3: endpoint, AWS_REGION: 'us-east-1' };
    const pod = await startPodIn({ environment }, '--model-uri', uri, '--model-name', 'iris');
    await pod.stop();
    expect(pod.logs).toContainEqual(expect.objectContaining({ msg: 'the model file is here', sha256 }));
  });

  test.each<[string, Record<string, string>, string, string]>([
    [
      'with a wrong secret',
      { ...keys, AWS_SECRET_ACCESS_KEY: 'another' },
      'ModelFetchFailed',
      'check AWS_ACCESS_KEY_ID',
    ],
    // In this store's own words.
    ['with an unknown key', { ...keys, AWS_ACCESS_KEY_ID: 'another' }, 'ModelFetchFailed', 'XAdminUserNotFound: check'],
    [
      'with half of the keys',
      { AWS_ACCESS_KEY_ID: 'the-key' },
      'InvalidConfiguration',
      'the Secret of spec.model.secretName has no key AWS_SECRET_ACCESS_KEY',
    ],
    [
      'of another region',
      { ...keys, AWS_REGION: 'eu-central-1' },
      'ModelFetchFailed',
      'AuthorizationHeaderMalformed: the bucket is in',
    ],
    ['without any', {}, 'ModelFetchFailed', 'no AWS_ACCESS_KEY_ID was given: set spec.model.secretName'],
    ['with an endpoint that is none', { ...keys, AWS_ENDPOINT_URL: 'store' }, 'InvalidConfiguration', 'must be a URL'],
  ])('not %s', async (_, values, reason, message) => {
    const { terminationMessage, output } = await failToStartIn(
      { environment: noInstance },
      '--model-uri',
      uri,
      '--model-name',
      'iris',
      ...(await withSecret(values)),
    );
    expect(terminationMessage).toMatchObject({ reason, message: expect.stringContaining(message) });
    for (const value of Object.values(keys)) expect(output).not.toContain(value);
  });

  test('not when it is not there', async () => {
    const args = ['--model-uri', 's3://models/none.onnx', '--model-name', 'iris', ...(await withSecret(keys))];
    const { terminationMessage } = await failToStartIn({}, ...args);
    expect(terminationMessage).toMatchObject({
      reason: 'ModelNotFound',
      message: expect.stringContaining('/models/none.onnx answered 404: the bucket has no such object'),
    });
  });
});

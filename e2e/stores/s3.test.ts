import type { ChildProcess } from 'node:child_process';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, test } from '@jest/globals';
import { ensureBinaries } from '../cluster/binaries.ts';
import { freePort } from '../free-port.ts';
import { iris, startStore, Workplace } from './played-store.ts';

/** Models of a store that speaks S3 and checks every signature (versitygw). */
const keys = { AWS_ACCESS_KEY_ID: 'the-key', AWS_SECRET_ACCESS_KEY: 'the-secret-of-the-store' };
/** Of which every character has to be signed as it is sent. */
const key = 'iris/v1 (final)/a+b=c&d~é*!.onnx';
const uri = `s3://models/${key}`;

let work: Workplace;
let store: ChildProcess;
let endpoint: string;

beforeAll(async () => {
  const { versitygw } = await ensureBinaries('versitygw');
  work = await Workplace.make('s3');
  // Its buckets are folders, and its objects files.
  const object = join(work.folder, 'data/models', key);
  await mkdir(join(object, '..'), { recursive: true });
  await mkdir(join(work.folder, 'meta'));
  await copyFile(iris, object);
  const port = await freePort();
  endpoint = `http://127.0.0.1:${port}`;
  const args = [
    '--port',
    `127.0.0.1:${port}`,
    'posix',
    '--sidecar',
    join(work.folder, 'meta'),
    join(work.folder, 'data'),
  ];
  const root = { ROOT_ACCESS_KEY: keys.AWS_ACCESS_KEY_ID, ROOT_SECRET_KEY: keys.AWS_SECRET_ACCESS_KEY };
  store = await startStore(versitygw, args, endpoint, root);
}, 600_000);
afterAll(async () => {
  store.kill();
  await work.remove();
});

const withSecret = (values: Readonly<Record<string, string>>) =>
  work.secretOf({ AWS_ENDPOINT_URL: endpoint, ...values });
const noInstance = { AWS_EC2_METADATA_DISABLED: 'true' };

describe('a model comes from S3', () => {
  test('with the keys of a Secret, which nothing tells', async () => {
    await work.expectLoaded(uri, await withSecret(keys));
  });

  test("with the keys of the pod's own environment, as AWS's chain finds them", async () => {
    await work.expectLoaded(uri, [], { ...keys, AWS_ENDPOINT_URL_S3: endpoint, AWS_REGION: 'us-east-1' });
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
    await work.expectRefused(uri, await withSecret(values), [reason, message], noInstance);
  });

  test('not when it is not there', async () => {
    const answer = '/models/none.onnx answered 404: the bucket has no such object';
    await work.expectRefused('s3://models/none.onnx', await withSecret(keys), ['ModelNotFound', answer]);
  });
});

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { Agent } from 'undici';
import { Credentials } from './credentials.ts';
import { s3Remote } from './s3-remote.ts';

test('a Secret that is renewed is read as a whole for the next try', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-keys-'));
  const renew = async (which: string) => {
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'])
      await writeFile(join(folder, name), `${which}-${name}`);
  };
  const context = { headers: {}, dispatcher: new Agent(), signal: new AbortController().signal };
  try {
    await renew('old');
    const remote = s3Remote('models', 'iris.onnx', new Credentials(folder, {}));
    await remote.request(context);
    await renew('new');
    const { headers } = await remote.request(context);
    expect(headers['authorization']).toContain('Credential=new-AWS_ACCESS_KEY_ID/');
    expect(headers['x-amz-security-token']).toBe('new-AWS_SESSION_TOKEN');
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.each([
  ['eu-central-1', 'https://models.s3.eu-central-1.amazonaws.com/iris.onnx'],
  ['cn-north-1', 'https://models.s3.cn-north-1.amazonaws.com.cn/iris.onnx'],
])('the host of %s', async (region, url) => {
  const keys = { AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret', AWS_REGION: region };
  const folder = await mkdtemp(join(tmpdir(), 'slipway-keys-'));
  for (const [name, value] of Object.entries(keys)) await writeFile(join(folder, name), value);
  const context = { headers: {}, dispatcher: new Agent(), signal: new AbortController().signal };
  const request = await s3Remote('models', 'iris.onnx', new Credentials(folder, {})).request(context);
  expect(request.url.href).toBe(url);
  await rm(folder, { recursive: true });
});

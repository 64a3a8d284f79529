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

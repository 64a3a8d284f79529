import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startPodIn } from '../../inference-pod/test/running-pod.ts';
import { iris, listen, Workplace } from './played-store.ts';

/** Models of a hub: static files in its layout, its codes, and a store of its own for large ones. */
const token = 'hf_the-token-of-the-user';
const commit = '0123456789abcdef0123456789abcdef01234567';
const files = new Map([
  [`/org/iris/resolve/${commit}/model.onnx`, readFileSync(iris)],
  ['/org/iris/resolve/refs%2Fpr%2F1/onnx/the%20model%2Bone.onnx', readFileSync(iris)],
]);

let work: Workplace;
let hub: { readonly server: Server; readonly url: string };
let store: { readonly server: Server; readonly url: string };
const shownToTheStore: unknown[] = [];
beforeAll(async () => {
  work = await Workplace.make('hub');
  store = await listen(({ headers, url = '' }, response) => {
    shownToTheStore.push(headers.authorization);
    response.writeHead(200, { etag: '"1"' }).end(files.get(decodeURIComponent(url.slice(1))));
  });
  hub = await listen(({ headers, url = '' }, response) => {
    const refuse = (status: number, code: string) => response.writeHead(status, { 'x-error-code': code }).end('no');
    if (url.startsWith('/org/gated/')) return refuse(403, 'GatedRepo');
    if (!/^\/(api\/models\/)?org\/iris\//.test(url) || headers.authorization !== `Bearer ${token}`)
      return refuse(401, 'RepoNotFound');
    // What a branch leads to; of another, this hub does not tell.
    if (url === '/api/models/org/iris/revision/main') return response.end(JSON.stringify({ sha: commit }));
    if (url.startsWith('/api/')) return refuse(404, 'RevisionNotFound');
    if (!/\/resolve\/(0123456789abcdef0123456789abcdef01234567|refs%2Fpr%2F1)\//.test(url))
      return refuse(404, 'RevisionNotFound');
    if (!files.has(url)) return refuse(404, 'EntryNotFound');
    return response.writeHead(302, { location: `${store.url}/${encodeURIComponent(url)}` }).end();
  });
});
afterAll(async () => {
  hub.server.close();
  store.server.close();
  await work.remove();
});

describe('a model comes from a hub', () => {
  const secret = (values: Record<string, string> = { HF_TOKEN: token }) =>
    work.secretOf({ HF_ENDPOINT: `${hub.url}/`, ...values });

  test.each(['hf://org/iris@main/model.onnx', 'hf://org/iris@refs%2Fpr%2F1/onnx/the model+one.onnx'])(
    '%s, whose store is not shown the token',
    async (uri) => {
      await work.expectLoaded(uri, await secret());
      expect(new Set(shownToTheStore)).toEqual(new Set([undefined]));
    },
  );

  test('of which it tells what its branch led to', async () => {
    const args = ['--model-uri', 'hf://org/iris@main/model.onnx', '--model-name', 'iris', ...(await secret())];
    const pod = await startPodIn({}, ...args);
    await pod.stop();
    const resolvedUri = `hf://org/iris@${commit}/model.onnx`;
    expect(pod.logs).toContainEqual(expect.objectContaining({ msg: 'the model file is here', resolvedUri }));
  });

  test('with the variables of the pod', async () => {
    await work.expectLoaded('hf://org/iris@main/model.onnx', [], { HF_ENDPOINT: hub.url, HF_TOKEN: token });
  });

  test.each<[string, string, Record<string, string>, string, string]>([
    [
      'of a revision that is not there',
      'hf://org/iris@v9/model.onnx',
      { HF_TOKEN: token },
      'ModelNotFound',
      'no such revision',
    ],
    [
      'of a file that is not there',
      'hf://org/iris@main/none.onnx',
      { HF_TOKEN: token },
      'ModelNotFound',
      'no such file',
    ],
    [
      'of a repository that is not there',
      'hf://org/none@main/model.onnx',
      { HF_TOKEN: token },
      'ModelNotFound',
      'no such repository for HF_TOKEN',
    ],
    ['that needs a token', 'hf://org/iris@main/model.onnx', {}, 'ModelNotFound', 'no such repository without HF_TOKEN'],
    [
      'with another token',
      'hf://org/iris@main/model.onnx',
      { HF_TOKEN: 'hf_another' },
      'ModelNotFound',
      'check spec.model.uri and HF_TOKEN',
    ],
    [
      'that is gated',
      'hf://org/gated@main/model.onnx',
      { HF_TOKEN: token },
      'ModelFetchFailed',
      'ask for access on its page',
    ],
    [
      'at an endpoint that is none',
      'hf://org/iris@main/model.onnx',
      { HF_ENDPOINT: 'hub' },
      'InvalidConfiguration',
      'HF_ENDPOINT must be a URL',
    ],
  ])('not %s', async (_, uri, values, reason, message) => {
    await work.expectRefused(uri, await secret(values), [reason, message]);
  });
});

import { type ChildProcess, execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { request as forward, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { failToStartIn, startPodIn } from '../../inference-pod/test/running-pod.ts';
import { ensureBinaries } from '../cluster/binaries.ts';
import { eventually } from '../eventually.ts';
import { freePort } from '../free-port.ts';
import { iris, listen, startStore, Workplace } from './played-store.ts';
import { digestOf, pushArtifact, pushIndex } from './pushed-artifact.ts';

/**
 * Models of an OCI registry (the one of crane). That lets everybody in, so before it stands what does not: it asks for a token, and
 * gives one to the account that it knows.
 */
const token = 'a-token-of-the-registry';
const account = Buffer.from('user:the-password-of-the-user').toString('base64');
const bytes = readFileSync(iris);
const run = promisify(execFile);
/** What oras calls a folder. */
const packedType = 'application/vnd.oci.image.layer.v1.tar+gzip';

let work: Workplace;
let registry: ChildProcess;
let guard: { readonly server: Server; readonly url: string };
/** Where a registry redirects to, which asks who it is as well. */
let thief: { readonly server: Server; readonly url: string };
const shownToTheThief: unknown[] = [];
let open: string;
let closed: string;
/** Tokens that are given, of which each is good for one blob if they are of an aging repository. */
let tokensGiven = 0;
let blobsAsked = 0;
let halvedAsked = 0;
/** How the registry asks who it is. */
let scheme: 'Bearer' | 'Basic' | 'both' = 'Bearer';
const scopes: (string | null)[] = [];

const push = (repository: string, tag: string, files: Readonly<Record<string, Buffer>>, type?: string) =>
  pushArtifact(open, repository, tag, files, type);

let refusals = 0;
function answer({ url = '', headers }: IncomingMessage, response: ServerResponse): void {
  const { pathname, searchParams } = new URL(url, 'http://registry');
  if (pathname.startsWith('/v2/elsewhere/'))
    return void response.writeHead(307, { location: `${thief.url}${url}` }).end();
  if (pathname.startsWith('/v2/busy/') && refusals-- > 0)
    return void response.writeHead(503, { 'retry-after': '2' }).end();
  if (pathname === '/token') {
    scopes.push(searchParams.get('scope'));
    if (headers.authorization !== `Basic ${account}`) return void response.writeHead(401).end('{}');
    tokensGiven += 1;
    return void response.end(JSON.stringify({ token: `${token}-${tokensGiven}`, expires_in: 60 }));
  }
  const isAging = pathname.startsWith('/v2/aging/');
  const isRight =
    scheme === 'Basic'
      ? headers.authorization === `Basic ${account}`
      : headers.authorization?.startsWith(`Bearer ${token}`) === true &&
        (!isAging || headers.authorization === `Bearer ${token}-${tokensGiven}`);
  if (isRight && isAging && pathname.includes('/blobs/')) {
    // It has run out by the next one.
    tokensGiven += 1;
    blobsAsked += 1;
  }
  if (!isRight) {
    const bearer = `Bearer realm="${guard.url}/token",service="registry"`;
    const challenge = { Bearer: [bearer], Basic: ['Basic realm="registry"'], both: ['Basic realm="registry"', bearer] };
    return void response
      .writeHead(401, { 'www-authenticate': challenge[scheme] })
      .end('{"errors":[{"code":"UNAUTHORIZED"}]}');
  }
  // One blob is there, and the next is not.
  if (pathname.startsWith('/v2/halved/') && pathname.includes('/blobs/') && halvedAsked++ % 2 === 1)
    return void response.writeHead(404).end('{"errors":[{"code":"BLOB_UNKNOWN"}]}');
  const [host = '', port = ''] = open.split(':');
  forward({ host, port, path: url, headers: { ...headers, host: open } }, (told) => {
    response.writeHead(told.statusCode ?? 500, told.headers);
    // Bytes that somebody on the way has changed.
    if (pathname.startsWith('/v2/changed/blobs/'))
      told.resume().on('end', () => response.end(Buffer.alloc(bytes.length)));
    else told.pipe(response);
  }).end();
}

beforeAll(async () => {
  const { crane } = await ensureBinaries('crane');
  work = await Workplace.make('registry');
  open = `127.0.0.1:${await freePort()}`;
  registry = await startStore(crane, ['registry', 'serve', '--address', open], `http://${open}/v2/`);
  guard = await listen(answer);
  thief = await listen(({ headers }, response) => {
    shownToTheThief.push(headers.authorization);
    response.writeHead(401, { 'www-authenticate': `Bearer realm="${thief.url}/token"` }).end();
  });
  closed = guard.url.replace('http://', '');
}, 600_000);
afterAll(async () => {
  registry.kill();
  guard.server.close();
  thief.server.close();
  await work.remove();
});

const dockerConfig = (auth: string = account, host = closed) => ({
  '.dockerconfigjson': JSON.stringify({ auths: { [host]: { auth } } }),
});

describe('a model comes from an OCI registry', () => {
  test('by a tag and by a digest, alone and among others', async () => {
    const digest = await push('models/iris', '1.0', { 'model.onnx': bytes });
    await push('models/iris', 'both', { 'README.md': Buffer.from('Iris.'), 'onnx/model.onnx': bytes });
    const secret = await work.secretOf(dockerConfig());
    await work.expectLoaded(`oci://${open}/models/iris:1.0`, []);
    await work.expectLoaded(`oci://${closed}/models/iris@${digest}`, secret);
    await work.expectLoaded(`oci://${closed}/models/iris:both/onnx/model.onnx`, secret);
    expect(new Set(scopes)).toEqual(new Set(['repository:models/iris:pull']));
    await work.expectRefused(
      `oci://${open}/models/iris:both`,
      [],
      ['ModelNotFound', 'has 2 files: add /FILE to spec.model.uri; it has README.md, onnx/model.onnx'],
    );
    await work.expectRefused(
      `oci://${open}/models/iris:both/none.onnx`,
      [],
      ['ModelNotFound', 'has no such file; it has README.md'],
    );
  });

  test('by the digest that its tag led another pod of its revision to, however the tag has moved', async () => {
    const digest = await push('models/moved', '1', { 'model.onnx': bytes });
    await push('models/moved', '1', { 'model.onnx': Buffer.from('something else') });
    const uri = `oci://${open}/models/moved:1`;
    const told = await mkdtemp(join(work.folder, 'link-'));
    const withKnown = async (known: string) => {
      await writeFile(join(told, 'resolved-uris.json'), JSON.stringify({ 'iris-1': known }));
      return ['--revision', 'iris-1', '--link-directory', told];
    };
    await work.expectLoaded(uri, await withKnown(`oci://${open}/models/moved@${digest}`));
    // What leads elsewhere is not followed.
    const elsewhere = await withKnown(`oci://${open}/models/iris@${digest}`);
    await work.expectRefused(uri, elsewhere, ['ModelInvalid', '']);
  });

  test('and is not fetched again by a container that starts when that is known', async () => {
    const digest = await push('models/kept', '1', { 'model.onnx': bytes });
    const told = await mkdtemp(join(work.folder, 'link-'));
    const uri = `oci://${open}/models/kept:1`;
    const args = ['--model-uri', uri, '--model-name', 'iris', '--work-directory', join(told, 'work')];
    const from = async (...more: string[]) => {
      const pod = await startPodIn({}, ...args, ...more);
      await pod.stop();
      return pod.logs.find(({ msg }) => msg === 'the model file is here')?.['from'];
    };
    expect(await from()).toBe('Store');
    const known = { 'iris-1': `oci://${open}/models/kept@${digest}` };
    await writeFile(join(told, 'resolved-uris.json'), JSON.stringify(known));
    expect(await from('--revision', 'iris-1', '--link-directory', told)).toBe('EarlierContainer');
  });

  test('by its tag, when the manifest is gone that was known, and its bytes are', async () => {
    await push('models/collected', '1', { 'model.onnx': bytes });
    const told = await mkdtemp(join(work.folder, 'link-'));
    const gone = `oci://${open}/models/collected@sha256:${'0'.repeat(64)}`;
    await writeFile(join(told, 'resolved-uris.json'), JSON.stringify({ 'iris-1': gone }));
    const known = ['--revision', 'iris-1', '--link-directory', told];
    await work.expectLoaded(`oci://${open}/models/collected:1`, known);
    // Of other bytes, nothing would be known.
    const uri = `oci://${open}/models/collected:1`;
    const failure = await failToStartIn({}, '--model-uri', uri, '--model-name', 'iris', ...known);
    expect(failure.terminationMessage).toMatchObject({ reason: 'ModelNotFound' });
  });

  test('and is told to have moved by a pod that goes on with what it has', async () => {
    await push('models/moving', '1', { 'model.onnx': bytes });
    const args = ['--model-uri', `oci://${closed}/models/moving:1`, '--model-name', 'iris'];
    const pod = await startPodIn({}, ...args, '--source-check-seconds', '1', ...(await work.secretOf(dockerConfig())));
    try {
      const digest = await push('models/moving', '1', { 'model.onnx': Buffer.from('something else') });
      const movedTo = `oci://${closed}/models/moving@${digest}`;
      const told = () => pod.logs.filter((line) => line['movedTo'] === movedTo);
      await eventually(
        async () => told().length,
        (lines) => lines > 0,
        { seconds: 30 },
      );
      expect((await fetch(`${pod.url}/v2/health/ready`)).status).toBe(200);
      // Once is enough.
      await new Promise((resolve) => setTimeout(resolve, 2500));
      expect(told()).toHaveLength(1);
    } finally {
      await pod.stop();
    }
  });

  test('with a password, where the registry asks for that', async () => {
    await push('models/plain', '1', { 'model.onnx': bytes });
    scheme = 'Basic';
    try {
      await work.expectLoaded(
        `oci://${closed}/models/plain:1`,
        await work.secretOf(dockerConfig(account, `https://${closed}/v1/`)),
      );
    } finally {
      scheme = 'Bearer';
    }
  });

  test('with a token, where the registry asks for that or a password', async () => {
    await push('models/both', '1', { 'model.onnx': bytes });
    scheme = 'both';
    try {
      await work.expectLoaded(`oci://${closed}/models/both:1`, await work.secretOf(dockerConfig()));
    } finally {
      scheme = 'Bearer';
    }
  });

  test('with the account that is for its repository', async () => {
    await push('team-a/iris', '1', { 'model.onnx': bytes });
    const other = Buffer.from('team-b:the-password-of-b').toString('base64');
    const auths = {
      [closed]: { auth: other },
      [`${closed}/team-a`]: { auth: account },
      [`${closed}/team`]: { auth: other },
    };
    const secret = await work.secretOf({ '.dockerconfigjson': JSON.stringify({ auths }) });
    await work.expectLoaded(`oci://${closed}/team-a/iris:1`, secret);
  });

  test('later, when the registry asks for that', async () => {
    await push('busy/iris', '1', { 'model.onnx': bytes });
    refusals = 1;
    const start = performance.now();
    await work.expectLoaded(`oci://${closed}/busy/iris:1`, await work.secretOf(dockerConfig()));
    expect(performance.now() - start).toBeGreaterThan(2000);
  });

  test('and whoever it is redirected to is not told who asks', async () => {
    const secret = await work.secretOf(dockerConfig());
    await work.expectRefused(`oci://${closed}/elsewhere/iris:1`, secret, ['ModelFetchFailed', 'answered 401']);
    expect(new Set(shownToTheThief)).toEqual(new Set([undefined]));
  });

  test('not when it may not be read, or is not there', async () => {
    await push('models/iris', '1', { 'model.onnx': bytes });
    const uri = `oci://${closed}/models/iris:1`;
    const advice = `check the account of ${closed} in .dockerconfigjson of the Secret of spec.model.secretName`;
    await work.expectRefused(uri, [], ['ModelFetchFailed', advice]);
    await work.expectRefused(
      uri,
      await work.secretOf(dockerConfig(Buffer.from('user:another-password').toString('base64'))),
      ['ModelFetchFailed', advice],
    );
    await work.expectRefused(uri, await work.secretOf({ '.dockerconfigjson': 'user:password' }), [
      'InvalidConfiguration',
      '.dockerconfigjson of the Secret',
    ]);
    await work.expectRefused(
      `oci://${open}/models/iris:none`,
      [],
      ['ModelNotFound', 'answered 404: check spec.model.uri'],
    );
  });

  test('not when the bytes are others than the manifest says, or the manifest another than the URI says', async () => {
    const digest = await push('changed', '1', { 'model.onnx': bytes });
    await work.expectRefused(`oci://${closed}/changed@${digest}`, await work.secretOf(dockerConfig()), [
      'ModelDigestMismatch',
      `and its store says ${digestOf(bytes).slice(7)}`,
    ]);
  });

  test('not when its title is no text', async () => {
    await push('models/hostile', '1', { ['\u0001'.repeat(2000)]: bytes, other: bytes });
    await work.expectRefused(`oci://${open}/models/hostile:1`, [], ['ModelNotFound', 'has 2 files']);
  });

  test('as a folder that was packed, and as an image of one layer', async () => {
    const archive = join(work.folder, 'iris.tar.gz');
    await run('tar', ['-czf', archive, '-C', dirname(iris), basename(iris)]);
    const packed = readFileSync(archive);
    await push('models/folder', '1', { 'read.me': Buffer.from('x'), iris: packed }, packedType);
    await work.expectLoadedOf(packed, `oci://${open}/models/folder:1/iris`, []);
    const { crane } = await ensureBinaries('crane');
    await run(crane, ['append', '--oci-empty-base', '--new_layer', archive, '--new_tag', `${open}/models/image:1`]);
    await work.expectLoadedOf(packed, `oci://${open}/models/image:1`, []);
  });

  describe('as a file in an image of several layers', () => {
    let crane: string;
    let layers = 0;
    /** @returns the path of a tar that has these files, by their names */
    const layerOf = async (files: Readonly<Record<string, Buffer | string>>) => {
      const folder = await mkdtemp(join(work.folder, 'layer-'));
      for (const [name, content] of Object.entries(files)) {
        await mkdir(dirname(join(folder, name)), { recursive: true });
        await writeFile(join(folder, name), content);
      }
      layers += 1;
      const archive = join(work.folder, `layer-${layers}.tar.gz`);
      await run('tar', ['-czf', archive, '-C', folder, '.']);
      return archive;
    };
    const image = async (tag: string, ...files: Readonly<Record<string, Buffer | string>>[]) => {
      const name = `${open}/models/image:${tag}`;
      for (const [index, layer] of files.entries()) {
        const base = index === 0 ? ['--oci-empty-base'] : ['--base', name];
        await run(crane, ['append', ...base, '--new_layer', await layerOf(layer), '--new_tag', name]);
      }
      return `oci://${name}`;
    };
    const system = { 'etc/passwd': 'root', 'models/model.onnx': 'an older one', 'usr/share/doc/x': 'x' };
    beforeAll(async () => {
      ({ crane } = await ensureBinaries('crane'));
    });

    test('in the uppermost that has it, with what is beside it', async () => {
      const uri = await image('several', system, { 'models/model.onnx': bytes }, { 'models/read.me': 'x' });
      await work.expectLoaded(`${uri}/models/model.onnx`, []);
      const models = join(import.meta.dirname, '../../inference-pod/test/models');
      const file = (name: string) => readFileSync(join(models, name));
      const apart = await image(
        'apart',
        { 'models/weights/w 1.bin': file('weights/w 1.bin') },
        { 'models/nested.onnx': file('nested.onnx'), 'models/external.onnx_data': file('external.onnx_data') },
      );
      const args = ['--model-uri', `${apart}/models/nested.onnx`, '--model-name', 'nested'];
      const pod = await startPodIn({}, ...args);
      await pod.stop();
      expect(pod.logs).toContainEqual(expect.objectContaining({ msg: 'the model file is here', from: 'Store' }));
    });

    test.each([
      ['taken away', { 'models/.wh.model.onnx': '' }],
      ['hidden with its folder', { 'models/.wh..wh..opq': '' }],
    ])('not when it was %s by a layer above', async (_, above) => {
      const uri = await image('removed', { 'models/model.onnx': bytes }, above);
      await work.expectRefused(
        `${uri}/models/model.onnx`,
        [],
        ['ModelNotFound', "the image has no 'models/model.onnx' in its 2 layers"],
      );
    });

    test('although the token has run out by the time that one below is asked for', async () => {
      const secret = await work.secretOf(dockerConfig());
      const uri = await image('aging', { 'models/model.onnx': bytes }, { a: 'a' }, { b: 'b' });
      await run(crane, ['copy', uri.replace('oci://', ''), `${open}/aging/image:1`]);
      blobsAsked = 0;
      await work.expectLoaded(`oci://${closed}/aging/image:1/models/model.onnx`, secret);
      // Each layer once.
      expect(blobsAsked).toBe(3);
    });

    test('not when a layer below is gone, which is told at once', async () => {
      const uri = await image('halved', { 'models/model.onnx': bytes }, { c: 'c' });
      await run(crane, ['copy', uri.replace('oci://', ''), `${open}/halved/image:1`]);
      const secret = await work.secretOf(dockerConfig());
      const asked = performance.now();
      await work.expectRefused(`oci://${closed}/halved/image:1/models/model.onnx`, secret, [
        'ModelNotFound',
        'answered 404',
      ]);
      expect(performance.now() - asked).toBeLessThan(20_000);
    });

    test('not without a path, or with that of nothing', async () => {
      const uri = await image('pathless', system, { 'models/model.onnx': bytes });
      await work.expectRefused(uri, [], ['ModelNotFound', 'has 2 layers, as images have: add the path']);
      await work.expectRefused(`${uri}/none.onnx`, [], ['ModelNotFound', "the image has no 'none.onnx'"]);
    });

    test('of the platform of the pod, or of the only one there is', async () => {
      await image('platform', system, { 'models/model.onnx': bytes });
      const own = process.arch === 'x64' ? 'amd64' : process.arch;
      const statement = { os: 'unknown', architecture: 'unknown' };
      const other = { os: 'linux', architecture: 's390x' };
      const indexed = async (tag: string, ...platforms: readonly object[]) => {
        const { stdout } = await run(crane, ['manifest', `${open}/models/image:platform`]);
        const { digest, size } = { digest: digestOf(Buffer.from(stdout)), size: Buffer.byteLength(stdout) };
        const mediaType = JSON.parse(stdout).mediaType;
        const another = await push('models/image', 'another', { 'models/model.onnx': Buffer.from('not this one') });
        const manifests = platforms.map((platform, index) => ({
          mediaType,
          size,
          digest: index === platforms.length - 1 ? digest : another,
          platform,
        }));
        await pushIndex(open, 'models/image', tag, manifests);
        return `oci://${open}/models/image:${tag}/models/model.onnx`;
      };
      await work.expectLoaded(
        await indexed('several-platforms', other, statement, { os: 'linux', architecture: own }),
        [],
      );
      await work.expectLoaded(await indexed('one-platform', statement, other), []);
      await work.expectRefused(
        await indexed('other-platforms', other, { os: 'windows', architecture: own }),
        [],
        ['ModelFetchFailed', `is for several platforms, none of which is linux/${own}`],
      );
    });
  });

  test('not when it is packed in a way that is not known here', async () => {
    const type = 'application/vnd.oci.image.layer.v1.tar+zstd';
    await push('models/archive', '1', { model: bytes }, type);
    await work.expectRefused(
      `oci://${open}/models/archive:1`,
      [],
      ['ModelFetchFailed', `is an archive that is not unpacked here (${type})`],
    );
  });
});

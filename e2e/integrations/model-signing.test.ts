import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { pythonWith } from '../../inference-pod/test/clients/environment.ts';
import { failToStart, startPod } from '../../inference-pod/test/running-pod.ts';

/** What the OpenSSF's own signer writes, and what openssl does, which is the form of cosign. */
const run = promisify(execFile);
const models = join(import.meta.dirname, '../../inference-pod/test/models');
const cli = join(import.meta.dirname, '../../cli/src/main.ts');
const beside = ['external.onnx_data', 'weights/w 1.bin'];
let work: string;
let python: string;

beforeAll(async () => {
  python = await pythonWith(join(import.meta.dirname, 'clients/model-signing.txt'));
  work = await mkdtemp(join(tmpdir(), 'slipway-signing-'));
}, 240_000);
afterAll(() => rm(work, { recursive: true }));

/** A folder with a model in several files, and a key that may sign it. */
async function begin(name: string, ...how: string[]) {
  const folder = join(work, name);
  await mkdir(folder);
  for (const file of ['nested.onnx', ...beside]) await cp(join(models, file), join(folder, file));
  const [key, publicKey] = [join(work, `${name}.key`), join(work, `${name}.pub`)];
  await run('openssl', ['genpkey', ...how, '-out', key]);
  await run('openssl', ['pkey', '-in', key, '-pubout', '-out', publicKey]);
  const pod = async (...more: string[]) => [
    ...['--model-uri', 'pvc://models/nested.onnx', '--mount-directory', folder, '--model-name', 'nested'],
    ...['--model-signature-key', await readFile(publicKey, 'utf8'), ...more],
  ];
  return { folder, key, publicKey, pod };
}

const signWith = (key: string, what: string, signature: string) =>
  run(python, ['-m', 'model_signing', 'sign', 'key', what, '--private_key', key, '--signature', signature]);

test.each([
  ['P-256', 'prime256v1'],
  ['P-384', 'secp384r1'],
  ['P-521', 'secp521r1'],
])('a folder that model_signing has signed with a key of %s', async (_, curve) => {
  const { folder, key, publicKey, pod } = await begin(
    curve,
    '-algorithm',
    'EC',
    '-pkeyopt',
    `ec_paramgen_curve:${curve}`,
  );
  const signature = join(folder, 'model.sig');
  await signWith(key, folder, signature);
  const file = ['--model-signature-file', 'model.sig'];
  const served = await startPod(...(await pod(...file)));
  await served.stop();
  const paths = beside.map((name) => join(folder, name));
  const verify = ['verify', join(folder, 'nested.onnx'), ...paths, '--key', publicKey, '--signature', signature];
  const { stdout } = await run(process.execPath, ['--no-warnings', cli, ...verify]);
  expect(stdout).toMatch(/^signed by the key [0-9a-f]{64}:\n[0-9a-f]{64} {2}nested\.onnx\n/);
  await writeFile(join(folder, 'weights/w 1.bin'), Buffer.alloc(16));
  expect((await failToStart(...(await pod(...file)))).terminationMessage).toMatchObject({ reason: 'ModelUntrusted' });
});

test('a folder that model_signing has signed with a certificate', async () => {
  const { folder, key } = await begin('certified', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:prime256v1');
  const at = (name: string) => join(work, `certified-${name}`);
  const newKey = (file: string) =>
    run('openssl', ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', file]);
  for (const name of ['root.key', 'between.key']) await newKey(at(name));
  const authority = 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n';
  const issue = async (name: string, keyFile: string, extensions: string, by: string | undefined) => {
    await writeFile(at(`${name}.ext`), `${extensions}subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n`);
    await run('openssl', ['req', '-new', '-key', keyFile, '-subj', `/CN=${name}`, '-out', at(`${name}.csr`)]);
    const signer =
      by === undefined ? ['-signkey', keyFile] : ['-CA', at(`${by}.pem`), '-CAkey', at(`${by}.key`), '-CAcreateserial'];
    const args = ['x509', '-req', '-in', at(`${name}.csr`), ...signer, '-days', '30', '-extfile', at(`${name}.ext`)];
    await run('openssl', [...args, '-out', at(`${name}.pem`)]);
  };
  await issue('root', at('root.key'), authority, undefined);
  await issue('between', at('between.key'), authority, 'root');
  const signing =
    'keyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\nsubjectAltName=email:trainer@example.com\n';
  await issue('leaf', key, signing, 'between');
  const signature = join(folder, 'nested.onnx.sig');
  const chain = ['--signing_certificate', at('leaf.pem'), '--certificate_chain', at('between.pem')];
  await run(python, [
    '-m',
    'model_signing',
    'sign',
    'certificate',
    folder,
    '--private_key',
    key,
    ...chain,
    '--signature',
    signature,
  ]);
  const identityOf = async (subject: string, root: string) =>
    JSON.stringify({ subject, authorities: await readFile(root, 'utf8') });
  const pod = async (subject: string, root = at('root.pem')) => [
    ...['--model-uri', 'pvc://models/nested.onnx', '--mount-directory', folder, '--model-name', 'nested'],
    ...['--model-signature-identity', await identityOf(subject, root)],
  ];
  const served = await startPod(...(await pod('trainer@example.com')));
  await served.stop();
  const refused = async (...args: Parameters<typeof pod>) =>
    (await failToStart(...(await pod(...args)))).terminationMessage;
  expect(await refused('somebody@example.com')).toMatchObject({
    reason: 'ModelUntrusted',
    message: expect.stringContaining('is for trainer@example.com, not for somebody@example.com'),
  });
  await newKey(at('stranger.key'));
  await issue('stranger', at('stranger.key'), authority, undefined);
  expect(await refused('trainer@example.com', at('stranger.pem'))).toMatchObject({ reason: 'ModelUntrusted' });
  const paths = beside.map((name) => join(folder, name));
  const asked = ['--subject', 'trainer@example.com', '--authorities', at('root.pem')];
  const { stdout } = await run(process.execPath, [
    '--no-warnings',
    cli,
    'verify',
    join(folder, 'nested.onnx'),
    ...paths,
    ...asked,
  ]);
  expect(stdout).toMatch(/^signed by trainer@example\.com:\n[0-9a-f]{64} {2}nested\.onnx\n/);
});

test('a file that model_signing has signed by itself', async () => {
  const { folder, key, pod } = await begin('one', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:prime256v1');
  await cp(join(models, 'echo.onnx'), join(folder, 'nested.onnx'));
  const signature = join(folder, 'nested.onnx.sig');
  await signWith(key, join(folder, 'nested.onnx'), signature);
  const served = await startPod(...(await pod()));
  await served.stop();
});

test.each([
  ['ECDSA', ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:prime256v1'], ['dgst', '-sha256', '-sign']],
  ['Ed25519', ['-algorithm', 'ed25519'], ['pkeyutl', '-sign', '-rawin', '-inkey']],
])('the bytes of a file that openssl has signed with a key of %s', async (name, how, command) => {
  const { folder, key, pod } = await begin(name, ...how);
  const model = join(folder, 'nested.onnx');
  await cp(join(models, 'echo.onnx'), model);
  const input = command[0] === 'dgst' ? [model] : ['-in', model];
  const { stdout } = await run('openssl', [...command, key, ...input], { encoding: 'buffer' });
  await writeFile(`${model}.sig`, stdout.toString('base64'));
  const served = await startPod(...(await pod()));
  await served.stop();
});

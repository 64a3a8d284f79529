import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { ProtobufWriter } from '../src/protocol/protobuf.ts';
import { get, post } from './http.ts';
import { failToStart, startPod } from './running-pod.ts';

const signer = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const stranger = generateKeyPairSync('ed25519');
const pemOf = ({ publicKey }: { readonly publicKey: KeyObject }) =>
  publicKey.export({ format: 'pem', type: 'spki' }).toString();
const files = ['nested.onnx', 'external.onnx_data', 'weights/w 1.bin'];

let folder: string;
let work: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-trust-'));
  await cp(join(import.meta.dirname, 'models'), folder, { recursive: true });
});
beforeEach(async () => {
  work = await mkdtemp(join(folder, 'work-'));
});
afterAll(() => rm(folder, { recursive: true }));

const argumentsOf = (name: string, key: { readonly publicKey: KeyObject } = signer, ...more: string[]) => [
  ...['--model-uri', `pvc://models/${name}`, '--mount-directory', folder, '--model-name', 'm'],
  ...['--model-signature-key', pemOf(key), ...more],
];

/** What the signer writes of a folder. */
async function statementOf(...names: string[]): Promise<string> {
  const resources = await Promise.all(
    names.map(async (name) => {
      const bytes = await readFile(join(folder, name));
      return { name, algorithm: 'sha256', digest: createHash('sha256').update(bytes).digest('hex') };
    }),
  );
  const predicateType = 'https://model_signing/signature/v1.0';
  const payload = JSON.stringify({ _type: 'https://in-toto.io/Statement/v1', predicateType, predicate: { resources } });
  const payloadType = 'application/vnd.in-toto+json';
  const signed = Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${Buffer.byteLength(payload)} ${payload}`);
  const sig = sign('sha256', signed, signer.privateKey).toString('base64');
  const dsseEnvelope = { payload: Buffer.from(payload).toString('base64'), payloadType, signatures: [{ sig }] };
  return JSON.stringify({ mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json', dsseEnvelope });
}

async function signBytes(name: string): Promise<void> {
  const signature = sign('sha256', await readFile(join(folder, name)), signer.privateKey).toString('base64');
  await writeFile(join(folder, `${name}.sig`), signature);
}

async function expectTrusted(...args: string[]) {
  const pod = await startPod(...args);
  try {
    const fingerprint = createHash('sha256')
      .update(signer.publicKey.export({ format: 'der', type: 'spki' }))
      .digest('hex');
    expect(pod.logs.find(({ msg }) => msg === 'the model file is here')).toMatchObject({ signedBy: fingerprint });
    expect((await get(`${pod.controlUrl}/model`)).status).toBe(200);
    return pod.logs.find(({ msg }) => msg === 'the model file is here')?.['from'];
  } finally {
    await pod.stop();
  }
}

const refusal = async (...args: string[]) => (await failToStart(...args)).terminationMessage;
const untrusted = (message: string) => ({ reason: 'ModelUntrusted', message: expect.stringContaining(message) });

describe('a model that has to be signed', () => {
  test('is served when its bytes are, and not when they are other ones', async () => {
    await signBytes('echo.onnx');
    await expectTrusted(...argumentsOf('echo.onnx'));
    const bytes = await readFile(join(folder, 'echo.onnx'));
    await writeFile(join(folder, 'echo.onnx'), Buffer.concat([bytes, Buffer.from([0])]));
    expect(await refusal(...argumentsOf('echo.onnx'))).toMatchObject(
      untrusted('the signature is not one of echo.onnx (sha256 '),
    );
    await writeFile(join(folder, 'echo.onnx'), bytes);
    expect(await refusal(...argumentsOf('echo.onnx', stranger))).toMatchObject(untrusted('somebody else'));
  });

  test('is served with the files beside it when the folder is', async () => {
    await writeFile(join(folder, 'model.sig'), await statementOf(...files));
    const args = argumentsOf('nested.onnx', signer, '--model-signature-file', 'model.sig');
    await expectTrusted(...args);
    const weights = await readFile(join(folder, 'weights/w 1.bin'));
    await writeFile(join(folder, 'weights/w 1.bin'), Buffer.alloc(weights.length));
    expect(await refusal(...args)).toMatchObject(untrusted('weights/w 1.bin has sha256'));
    await writeFile(join(folder, 'weights/w 1.bin'), weights);
    await writeFile(join(folder, 'model.sig'), await statementOf('nested.onnx', 'external.onnx_data'));
    expect(await refusal(...args)).toMatchObject(untrusted('weights/w 1.bin has sha256'));
  });

  test.each([
    ['has none', 'absent.sig', undefined, 'the model has no signature that can be read'],
    ['has one that is none', 'none.sig', Buffer.from('none!'), 'the signature is not in Base64'],
    ['has one without end', 'long.sig', Buffer.alloc(2 ** 20 + 1, 'A'), 'no signature that can be read'],
  ])('is refused when it %s', async (_, name, bytes, message) => {
    if (bytes !== undefined) await writeFile(join(folder, name), bytes);
    expect(await refusal(...argumentsOf('nested.onnx', signer, '--model-signature-file', name))).toMatchObject(
      untrusted(message),
    );
  });

  test('is refused with a key that is none', async () => {
    const { privateKey } = signer;
    const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
    expect(await refusal(...argumentsOf('nested.onnx'), '--model-signature-key', pem)).toMatchObject({
      reason: 'InvalidConfiguration',
      message: expect.stringMatching(/not a public key of Ed25519 or ECDSA.*correct spec\.model\.signature\.publicKey/),
    });
  });

  test('is copied once for all containers of a pod, and verified by each', async () => {
    await signBytes('echo.onnx');
    const args = argumentsOf('echo.onnx', signer, '--work-directory', work);
    expect([await expectTrusted(...args), await expectTrusted(...args)]).toEqual(['Store', 'EarlierContainer']);
    await writeFile(join(work, 'model/.signature'), 'AAAA');
    expect([await expectTrusted(...args), await expectTrusted(...args)]).toEqual(['Store', 'EarlierContainer']);
    expect(await refusal(...argumentsOf('echo.onnx', stranger, '--work-directory', work))).toMatchObject(
      untrusted('somebody else'),
    );
  });
});

describe("operators that are not ONNX's own", () => {
  /** One operator of the runtime's own, of a number. */
  const model = (domain: string) => {
    const number = new ProtobufWriter().message(
      1,
      new ProtobufWriter().number(1, 1).message(2, new ProtobufWriter().message(1, new ProtobufWriter().number(1, 1))),
    );
    const value = (name: string) => new ProtobufWriter().text(1, name).message(2, number);
    const node = new ProtobufWriter().text(1, 'x').text(2, 'y').text(4, 'Gelu').text(7, domain);
    const graph = new ProtobufWriter().message(1, node).text(2, 'g').message(11, value('x')).message(12, value('y'));
    const imported = (name: string, version: number) => new ProtobufWriter().text(1, name).number(2, version);
    return new ProtobufWriter()
      .number(1, 8)
      .message(7, graph)
      .message(8, imported('', 17))
      .message(8, imported(domain, 1));
  };
  const argumentsWith = async (domain: string, ...more: string[]) => {
    const path = join(work, 'own.onnx');
    await writeFile(path, Buffer.concat(model(domain).finish()));
    return ['--model', path, '--model-name', 'm', ...more];
  };

  test('are refused with their names, and run where they are allowed', async () => {
    expect(await refusal(...(await argumentsWith('com.microsoft')))).toMatchObject(
      untrusted(
        "the model has operators that are not ONNX's own: com.microsoft.Gelu; if it is to be trusted, allow them in spec.model.operatorDomains: [com.microsoft]",
      ),
    );
    const pod = await startPod(...(await argumentsWith('com.microsoft', '--operator-domains', 'a.b,com.microsoft')));
    try {
      const inputs = [{ name: 'x', datatype: 'FP32', shape: [1], data: [1] }];
      const { json } = await post(`${pod.url}/v2/models/m/infer`, { inputs });
      expect(json.outputs[0].data[0]).toBeCloseTo(0.841345, 5);
    } finally {
      await pod.stop();
    }
  });

  test('of libraries are refused by the runtime, allowed or not', async () => {
    expect(await refusal(...(await argumentsWith('org.example', '--operator-domains', 'org.example')))).toMatchObject({
      reason: 'ModelInvalid',
    });
  });
});

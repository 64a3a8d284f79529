import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { fingerprintOf, type SignedFile, signingKeyOf, verifySignature } from './signed-model.ts';
import { UntrustedModel } from './untrusted-model.ts';

const pairs = {
  'P-256': generateKeyPairSync('ec', { namedCurve: 'prime256v1' }),
  'P-384': generateKeyPairSync('ec', { namedCurve: 'secp384r1' }),
  'P-521': generateKeyPairSync('ec', { namedCurve: 'secp521r1' }),
  Ed25519: generateKeyPairSync('ed25519'),
};
const pemOf = (key: KeyObject) => key.export({ format: 'pem', type: 'spki' }).toString();

function file(name: string, text: string): SignedFile {
  const half = Math.floor(text.length / 2);
  async function* read() {
    yield Buffer.from(text.slice(0, half));
    yield Buffer.from(text.slice(half));
  }
  return { name, location: `models/iris/${name}`, sha256: createHash('sha256').update(text).digest('hex'), read };
}

const model = file('model.onnx', 'the bytes of a model');
const weights = file('weights.bin', 'its weights');

interface StatementChange {
  readonly payloadType?: string;
  readonly predicateType?: string;
  readonly resources?: unknown;
}

function bundleOf(key: KeyObject, digest: string | null, files: readonly SignedFile[], change: StatementChange = {}) {
  const {
    payloadType = 'application/vnd.in-toto+json',
    predicateType = 'https://model_signing/signature/v1.0',
    resources = files.map(({ name, sha256 }) => ({ name, algorithm: 'sha256', digest: sha256 })),
  } = change;
  const payload = Buffer.from(JSON.stringify({ _type: 'x', subject: [], predicateType, predicate: { resources } }));
  const signed = Buffer.concat([
    Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `),
    payload,
  ]);
  const sig = sign(digest, signed, key).toString('base64');
  return { dsseEnvelope: { payload: payload.toString('base64'), payloadType, signatures: [{ sig, keyid: '' }] } };
}

const untrusted = (text: string, key: KeyObject, files: readonly [SignedFile, ...SignedFile[]] = [model]) =>
  verifySignature(text, key, files, new Date()).then(
    () => 'trusted',
    (error: unknown) => (error instanceof UntrustedModel ? error.message : `${error}`),
  );

describe.each([
  ['P-256', 'sha256'],
  ['P-384', 'sha384'],
  ['P-384', 'sha256'],
  ['P-521', 'sha512'],
  ['Ed25519', null],
] as const)('a key of %s with %s', (curve, digest) => {
  const { publicKey, privateKey } = pairs[curve];
  const text = Buffer.from('the bytes of a model');
  const signature = sign(digest, text, privateKey).toString('base64');
  const key = signingKeyOf(pemOf(publicKey));

  test('has signed the bytes, as cosign writes it, alone and in its bundles', async () => {
    expect(await untrusted(`${signature}\n`, key)).toBe('trusted');
    expect(await untrusted(JSON.stringify({ base64Signature: signature, cert: '' }), key)).toBe('trusted');
    expect(await untrusted(JSON.stringify({ messageSignature: { signature } }), key)).toBe('trusted');
    expect(await untrusted(signature, key, [file('model.onnx', 'other bytes')])).toContain(
      `is not one of model.onnx (sha256 ${file('', 'other bytes').sha256}) by the key ${fingerprintOf(publicKey)}`,
    );
  });

  test('has signed a statement of all files', async () => {
    const bundle = JSON.stringify(bundleOf(privateKey, digest, [model, weights]));
    expect(await untrusted(bundle, key, [model, weights])).toBe('trusted');
    expect(await untrusted(bundle, key, [file('model.onnx', 'other'), weights])).toContain('model.onnx has sha256');
    expect(await untrusted(bundle, key, [model, file('weights.bin', 'other')])).toContain('weights.bin has sha256');
    // The same bytes elsewhere in the model.
    expect(await untrusted(bundle, key, [{ ...model, location: 'models/iris/renamed.onnx' }, weights])).toContain(
      'does not name model.onnx',
    );
    const swapped = { ...weights, name: 'model.onnx', location: model.location };
    expect(await untrusted(bundle, key, [swapped])).toContain('model.onnx has sha256');
    const elsewhere = { ...weights, location: 'models/iris/bias.bin' };
    expect(await untrusted(bundle, key, [model, elsewhere])).toContain('weights.bin has sha256');
    const outside = { ...weights, location: 'models/weights.bin' };
    expect(await untrusted(bundle, key, [model, outside])).toContain('weights.bin has sha256');
  });

  test('has signed a folder with the model in another below it', async () => {
    const at = (name: string, text: string): SignedFile => ({ ...file(name, text), location: `org/model/${name}` });
    const [inner, data, tokenizer] = [
      at('onnx/model.onnx', 'm'),
      at('onnx/model.onnx_data', 'd'),
      at('tokenizer.json', 't'),
    ];
    const other = at('model.onnx', 'another');
    const bundle = JSON.stringify(bundleOf(privateKey, digest, [inner, data, tokenizer, other]));
    expect(await untrusted(bundle, key, [inner, data, tokenizer])).toBe('trusted');
    expect(await untrusted(bundle, key, [other])).toBe('trusted');
    // Another signed file in its place.
    expect(await untrusted(bundle, key, [{ ...other, location: inner.location }])).toContain('model.onnx has sha256');
    expect(await untrusted(bundle, key, [inner, { ...data, location: tokenizer.location }])).toContain('has sha256');
    const alone = JSON.stringify(bundleOf(privateKey, digest, [{ ...inner, name: '.' }]));
    expect(await untrusted(alone, key, [inner])).toBe('trusted');
    expect(await untrusted(alone, key, [other])).toContain('model.onnx has sha256');
  });

  test('is another than has signed', async () => {
    const other = Object.values(pairs).filter((pair) => pair.publicKey !== publicKey);
    for (const { privateKey: stranger, publicKey: theirs } of other) {
      const kind = theirs.asymmetricKeyType === 'ed25519' ? null : 'sha256';
      expect(await untrusted(sign(kind, text, stranger).toString('base64'), key)).toContain('somebody else');
      expect(await untrusted(JSON.stringify(bundleOf(stranger, kind, [model])), key)).toContain(
        'not signed by the key',
      );
    }
  });
});

describe('a signature that is refused', () => {
  const { publicKey: key, privateKey } = pairs['P-256'];
  const bundle = (change: StatementChange) => JSON.stringify(bundleOf(privateKey, 'sha256', [model], change));
  const forged = () => {
    const { dsseEnvelope } = bundleOf(privateKey, 'sha256', [model]);
    const payload = Buffer.from(Buffer.from(dsseEnvelope.payload, 'base64').toString().replace('"x"', '"y"'));
    return JSON.stringify({ dsseEnvelope: { ...dsseEnvelope, payload: payload.toString('base64') } });
  };
  test.each([
    [
      'of another kind of statement',
      bundle({ predicateType: 'https://slsa.dev/provenance/v1' }),
      'does not say that a model',
    ],
    ['of something else than a statement', bundle({ payloadType: 'text/plain' }), 'what is signed is a "text/plain"'],
    ['without resources', bundle({ resources: 1 }), 'has no resources'],
    ['of no resource', bundle({ resources: [] }), 'does not name model.onnx'],
    ['of resources that are none', bundle({ resources: [1] }), 'a resource of the statement is no JSON object'],
    [
      'of other digests',
      bundle({ resources: [{ name: '.', algorithm: 'blake2b', digest: 'x' }] }),
      'digests of "blake2b"',
    ],
    ['changed after it was signed', forged(), 'not signed by the key'],
    ['empty', '', 'not in Base64'],
    ['of other characters', 'ä', 'not in Base64'],
    ['too short', 'AAAA', 'the signature is not one of model.onnx'],
    ['broken JSON', '{', 'the signature is no JSON'],
    ['of JSON that is no bundle', '{}', 'it is no Sigstore bundle'],
    ['of a bundle without a signature', '{"messageSignature":null}', 'is no JSON object'],
    ['of an envelope without signatures', '{"dsseEnvelope":{"payloadType":"x","payload":"AAAA"}}', 'no signatures'],
    [
      'of an empty list',
      '{"dsseEnvelope":{"payloadType":"x","payload":"AAAA","signatures":[]}}',
      'not signed by the key',
    ],
    [
      'of signatures that are none',
      '{"dsseEnvelope":{"payloadType":"x","payload":"AAAA","signatures":[{}]}}',
      'sig of dsseEnvelope',
    ],
  ])('%s', async (_, text, reason) => {
    expect(await untrusted(text, key)).toContain(reason);
  });

  test('of one file, for a model in several', async () => {
    const signature = sign('sha256', Buffer.from('the bytes of a model'), privateKey).toString('base64');
    expect(await untrusted(signature, key, [model, weights])).toContain('has weights.bin beside it: sign the folder');
  });

  test('of Ed25519 over more bytes than can be held', async () => {
    async function* read() {
      for (let megabyte = 0; megabyte <= 64; megabyte++) yield Buffer.alloc(2 ** 20);
    }
    const signature = Buffer.alloc(64).toString('base64');
    expect(await untrusted(signature, pairs.Ed25519.publicKey, [{ ...model, read }])).toContain(
      'sign its digest instead',
    );
  });
});

describe('a key', () => {
  test.each([
    ['a private one', pairs['P-256'].privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()],
    ['of RSA', pemOf(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey)],
    ['of another curve', pemOf(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey)],
    ['broken', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n'],
    ['nothing', ''],
  ])('%s is refused, in words that do not have it', (_, pem) => {
    expect(() => signingKeyOf(pem)).toThrow(/a public key of Ed25519 or ECDSA/);
    try {
      signingKeyOf(pem);
    } catch (error) {
      for (const line of pem.split('\n').filter((one) => one.length > 20 && !one.startsWith('-'))) {
        expect(String(error)).not.toContain(line);
      }
    }
  });
});

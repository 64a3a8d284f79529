import 'reflect-metadata';
import { createHash, createPrivateKey, sign, webcrypto } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  type JsonGeneralName,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { type SignedFile, verifySignature } from './signed-model.ts';
import { certifiedKey, digestOfIdentity, identityIn } from './signer-certificate.ts';

/** Chains as authorities issue them, and as nobody should. */
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const day = 86_400_000;
const codeSigning = '1.3.6.1.5.5.7.3.3';
const serverAuthentication = '1.3.6.1.5.5.7.3.1';

interface Issued {
  readonly certificate: X509Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
}

interface Wanted {
  readonly name: string;
  readonly by?: Issued;
  readonly isAuthority?: boolean;
  readonly pathLength?: number;
  readonly names?: readonly JsonGeneralName[];
  readonly usages?: KeyUsageFlags;
  readonly purposes?: readonly string[];
  readonly from?: number;
  readonly to?: number;
  readonly more?: readonly Extension[];
  readonly keys?: webcrypto.CryptoKeyPair;
}

async function issue({
  name,
  by,
  isAuthority = false,
  pathLength,
  from = -30,
  to = 365,
  ...wanted
}: Wanted): Promise<Issued> {
  const keys = wanted.keys ?? (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']));
  const { names = [], usages, purposes, more = [] } = wanted;
  const certificate = await X509CertificateGenerator.create(
    {
      subject: `CN=${name}`,
      issuer: by?.certificate.subject ?? `CN=${name}`,
      notBefore: new Date(Date.now() + from * day),
      notAfter: new Date(Date.now() + to * day),
      publicKey: keys.publicKey,
      signingKey: by?.keys.privateKey ?? keys.privateKey,
      signingAlgorithm: algorithm,
      extensions: [
        new BasicConstraintsExtension(isAuthority, pathLength, true),
        ...(names.length === 0 ? [] : [new SubjectAlternativeNameExtension([...names])]),
        ...(usages === undefined ? [] : [new KeyUsagesExtension(usages, true)]),
        ...(purposes === undefined ? [] : [new ExtendedKeyUsageExtension([...purposes])]),
        ...more,
      ],
    },
    webcrypto,
  );
  return { certificate, keys };
}

const der = ({ certificate }: Issued) => Buffer.from(certificate.rawData);
const pem = (...issued: readonly Issued[]) =>
  issued.map(({ certificate }) => `${certificate.toString('pem')}\n`).join('');
const authority = (name: string, rest: Partial<Wanted> = {}) =>
  issue({ name, isAuthority: true, usages: KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, ...rest });
const email = 'trainer@example.com';
const forSigning = {
  names: [{ type: 'email', value: email }] as const,
  usages: KeyUsageFlags.digitalSignature,
  purposes: [codeSigning],
};

let root: Issued;
let between: Issued;
beforeAll(async () => {
  root = await authority('root');
  between = await authority('between', { by: root });
});

const accepted = async (chain: readonly Issued[], authorities = pem(root), subject = email, issuer?: string) =>
  certifiedKey(chain.map(der), { subject, issuer, authorities }, new Date());

describe('the key of who has a certificate', () => {
  test('is that of the certificate, whatever kind of name it has', async () => {
    const uri = 'https://git.example/team/train.yml@refs/heads/main';
    const names = [...forSigning.names, { type: 'url', value: uri }, { type: 'dns', value: 'ci.example.com' }] as const;
    const leaf = await issue({ name: 'leaf', by: between, ...forSigning, names });
    for (const subject of [email, uri, 'ci.example.com']) {
      const key = await accepted([leaf, between], pem(root), subject);
      expect(Buffer.from(leaf.certificate.publicKey.rawData)).toEqual(key.export({ format: 'der', type: 'spki' }));
    }
    // The root comes with it, as some tools send it.
    await accepted([leaf, between, root]);
    await accepted([leaf], pem(await authority('other'), between));
    await accepted([await issue({ name: 'leaf', by: root, ...forSigning })]);
  });

  test('is that of one which was valid when it began to be, and is no more', async () => {
    await accepted([await issue({ name: 'leaf', by: root, ...forSigning, from: -20, to: -19 })]);
  });

  test('is told apart by who has attested it, as Sigstore writes that', async () => {
    const issuer = 'https://accounts.example.com';
    const text = Buffer.concat([Buffer.from([0x0c, issuer.length]), Buffer.from(issuer)]);
    const newer = new Extension('1.3.6.1.4.1.57264.1.8', false, text);
    const older = new Extension('1.3.6.1.4.1.57264.1.1', false, Buffer.from(issuer));
    for (const more of [[newer], [older], [older, newer]]) {
      const leaf = await issue({ name: 'leaf', by: root, ...forSigning, more });
      await accepted([leaf], pem(root), email, issuer);
      await expect(accepted([leaf], pem(root), email, 'https://evil.example')).rejects.toThrow(
        `was told by ${issuer}, not by https://evil.example`,
      );
    }
    const plain = await issue({ name: 'leaf', by: root, ...forSigning });
    await expect(accepted([plain], pem(root), email, issuer)).rejects.toThrow('nobody that is named');
  });

  test.each<[string, () => Promise<readonly Issued[]>, string]>([
    ['none', async () => [], 'has no certificate'],
    [
      'one for somebody else',
      async () => [
        await issue({ name: 'l', by: root, ...forSigning, names: [{ type: 'email', value: 'x@example.com' }] }),
      ],
      'is for x@example.com, not for',
    ],
    [
      'one for nobody of that kind',
      async () => [await issue({ name: email, by: root, ...forSigning, names: [] })],
      'is for nobody of that kind',
    ],
    [
      'a name of another kind',
      async () => [await issue({ name: 'l', by: root, ...forSigning, names: [{ type: 'dn', value: `CN=${email}` }] })],
      'is for nobody of that kind',
    ],
    [
      'one of a stranger',
      async () => [await issue({ name: 'l', by: await authority('root'), ...forSigning })],
      'issued by none of the authorities',
    ],
    [
      'one that has signed itself',
      async () => [await issue({ name: 'l', ...forSigning })],
      'issued by none of the authorities',
    ],
    [
      'one without what leads to the authority',
      async () => [await issue({ name: 'l', by: between, ...forSigning })],
      'issued by none of the authorities',
    ],
    [
      'one that a certificate of no authority has issued',
      async () => {
        const other = await issue({ name: 'other', by: root, ...forSigning });
        return [await issue({ name: 'l', by: other, ...forSigning }), other];
      },
      'issued by none of the authorities',
    ],
    [
      'one of an authority that may not issue',
      async () => {
        const other = await authority('other', { by: root, usages: KeyUsageFlags.digitalSignature });
        return [await issue({ name: 'l', by: other, ...forSigning }), other];
      },
      'issued by none of the authorities',
    ],
    [
      'a longer path than is allowed',
      async () => {
        const first = await authority('first', { by: root, pathLength: 0 });
        const second = await authority('second', { by: first });
        return [await issue({ name: 'l', by: second, ...forSigning }), second, first];
      },
      'issued by none of the authorities',
    ],
    [
      'one of an authority that was not valid yet',
      async () => {
        const later = await authority('later', { by: root, from: -1 });
        return [await issue({ name: 'l', by: later, ...forSigning, from: -10 }), later];
      },
      'issued by none of the authorities',
    ],
    [
      'one of an authority that was valid no more',
      async () => {
        const gone = await authority('gone', { by: root, from: -20, to: -15 });
        return [await issue({ name: 'l', by: gone, ...forSigning, from: -10 }), gone];
      },
      'issued by none of the authorities',
    ],
    [
      'a name that the authority may not give',
      async () => {
        // NameConstraints of RFC 5280, section 4.2.1.10: of e-mail addresses, those at example.org alone.
        const host = Buffer.from('example.org');
        const nested = [0x81, 0x30, 0xa0, 0x30].reduce(
          (inner, tag) => Buffer.concat([Buffer.from([tag, inner.length]), inner]),
          host,
        );
        const bound = await authority('bound', { by: root, more: [new Extension('2.5.29.30', true, nested)] });
        return [await issue({ name: 'l', by: bound, ...forSigning }), bound];
      },
      'issued by none of the authorities',
    ],
    [
      'one for servers',
      async () => [await issue({ name: 'l', by: root, ...forSigning, purposes: [serverAuthentication] })],
      'no codeSigning',
    ],
    [
      'one for secrets',
      async () => [await issue({ name: 'l', by: root, ...forSigning, usages: KeyUsageFlags.keyEncipherment })],
      'no digitalSignature',
    ],
    [
      'an extension that is critical, and not known',
      async () => [
        await issue({
          name: 'l',
          by: root,
          ...forSigning,
          more: [new Extension('1.2.3.4', true, Buffer.from([5, 0]))],
        }),
      ],
      'issued by none of the authorities',
    ],
    [
      'more than are looked at',
      async () => new Array(7).fill(await issue({ name: 'l', by: root, ...forSigning })),
      'more, or larger',
    ],
  ])('%s is refused', async (_what, chain, message) => {
    await expect(accepted(await chain())).rejects.toThrow(message);
    await expect(accepted(await chain())).rejects.toMatchObject({ name: 'UntrustedModel' });
  });

  test('an authority itself signs nothing, and what is no certificate is none', async () => {
    const own = await authority('own', {
      names: [{ type: 'email', value: email }],
      usages: KeyUsageFlags.digitalSignature,
    });
    await expect(accepted([own], pem(own))).rejects.toThrow('issued by none of the authorities');
    const identity = { subject: email, issuer: undefined, authorities: pem(root) };
    await expect(certifiedKey([Buffer.from('none')], identity, new Date())).rejects.toThrow('cannot be read');
    await expect(certifiedKey([Buffer.alloc(70_000)], identity, new Date())).rejects.toThrow('more, or larger');
    await expect(accepted([await issue({ name: 'l', by: root, ...forSigning })], 'none')).rejects.toThrow(
      'certificates in PEM',
    );
  });
});

describe('a signature with a certificate in it', () => {
  const bytes = Buffer.from('the bytes of a model');
  const model: SignedFile = {
    name: 'model.onnx',
    location: 'model.onnx',
    sha256: createHash('sha256').update(bytes).digest('hex'),
    async *read() {
      yield bytes;
    },
  };
  const identity = () => ({ subject: email, issuer: undefined, authorities: pem(root) });
  const signed = async (leaf: Issued, what: Buffer) => {
    const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', leaf.keys.privateKey));
    return sign('sha256', what, createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })).toString('base64');
  };
  const rawBytes = (issued: Issued) => ({ rawBytes: der(issued).toString('base64') });

  test('is checked, with one certificate and with a chain, in both forms of bundles', async () => {
    const leaf = await issue({ name: 'leaf', by: between, ...forSigning });
    const chain = { x509CertificateChain: { certificates: [rawBytes(leaf), rawBytes(between)] } };
    const resources = [{ name: 'model.onnx', algorithm: 'sha256', digest: model.sha256 }];
    const predicateType = 'https://model_signing/signature/v1.0';
    const payload = Buffer.from(JSON.stringify({ predicateType, predicate: { resources } }));
    const payloadType = 'application/vnd.in-toto+json';
    const encoded = Buffer.concat([
      Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `),
      payload,
    ]);
    const signatures = [{ sig: await signed(leaf, encoded) }];
    const dsseEnvelope = { payload: payload.toString('base64'), payloadType, signatures };
    await verifySignature(
      JSON.stringify({ verificationMaterial: chain, dsseEnvelope }),
      identity(),
      [model],
      new Date(),
    );
    const own = await issue({ name: 'leaf', by: root, ...forSigning });
    const messageSignature = { signature: await signed(own, bytes) };
    const verificationMaterial = { certificate: rawBytes(own) };
    await verifySignature(JSON.stringify({ verificationMaterial, messageSignature }), identity(), [model], new Date());
    // The certificate is right, and the signature somebody else's.
    const other = await issue({ name: 'leaf', by: root, ...forSigning });
    const text = JSON.stringify({ verificationMaterial: { certificate: rawBytes(other) }, messageSignature });
    await expect(verifySignature(text, identity(), [model], new Date())).rejects.toThrow('is not one of model.onnx');
  });

  test.each([
    ['MEUCIQ==', 'has no certificate'],
    [JSON.stringify({ messageSignature: { signature: 'MEUCIQ==' } }), 'has no certificate'],
    [
      JSON.stringify({ verificationMaterial: { publicKey: {} }, messageSignature: { signature: 'MEUCIQ==' } }),
      'has no certificate',
    ],
    [JSON.stringify({ verificationMaterial: 7, messageSignature: { signature: 'MEUCIQ==' } }), 'is no JSON object'],
    [
      JSON.stringify({
        verificationMaterial: { certificate: { rawBytes: '!' } },
        messageSignature: { signature: 'MEUCIQ==' },
      }),
      'is not in Base64',
    ],
  ])('%s has none that can be checked', async (text, message) => {
    await expect(verifySignature(text, identity(), [model], new Date())).rejects.toThrow(message);
  });
});

/** What somebody makes who has no certificate of any authority, or one that is not for this. */
describe('who would like to have signed', () => {
  const raw = (chain: readonly Buffer[], authorities = pem(root)) =>
    certifiedKey(chain, { subject: email, issuer: undefined, authorities }, new Date());
  const refused = (chain: Promise<unknown>) => expect(chain).rejects.toMatchObject({ name: 'UntrustedModel' });
  const constrained = (text: string, kind: number) => {
    const wrap = (inner: Buffer, tag: number) => Buffer.concat([Buffer.from([tag, inner.length]), inner]);
    return new Extension('2.5.29.30', false, [kind, 0x30, 0xa0, 0x30].reduce(wrap, Buffer.from(text)));
  };

  test('sends a certificate of his own twice, before one that is right', async () => {
    const evil = await issue({ name: 'evil', ...forSigning });
    const genuine = await issue({ name: 'leaf', by: root, ...forSigning });
    await refused(accepted([evil, evil, genuine]));
    await refused(accepted([evil, genuine]));
    await refused(accepted([evil, between]));
  });

  test('puts his own behind a right one, where one reader finds it and the other does not', async () => {
    const evil = await issue({ name: 'evil', ...forSigning });
    const genuine = await issue({ name: 'leaf', by: root, ...forSigning });
    await refused(raw([Buffer.concat([der(genuine), Buffer.from(`\n${pem(evil)}`)])]));
    await refused(raw([Buffer.concat([der(genuine), Buffer.from([0])])]));
    await refused(raw([Buffer.from(pem(genuine))]));
  });

  test('lets certificates lead in a circle', async () => {
    const [a, b] = [await authority('a'), await authority('b')];
    const by = (name: string, own: Issued, other: Issued) =>
      issue({ name, by: other, isAuthority: true, usages: KeyUsageFlags.keyCertSign, keys: own.keys });
    const [ab, ba] = [await by('a', a, b), await by('b', b, a)];
    await refused(accepted([await issue({ name: 'l', by: a, ...forSigning }), ab, ba]));
  });

  test('has a name of another kind, or an authority whose names are bound', async () => {
    for (const type of ['dns', 'url'] as const)
      await refused(accepted([await issue({ name: 'l', by: root, ...forSigning, names: [{ type, value: email }] })]));
    const bound = await authority('bound', { by: root, more: [constrained('example.org', 0x81)] });
    const own = { type: 'email', value: 'a@example.org' } as const;
    const leaf = await issue({ name: 'l', by: bound, ...forSigning, names: [own, ...forSigning.names] });
    await refused(accepted([leaf, bound]));
    const boundRoot = await authority('bound root', { more: [constrained('example.org', 0x81)] });
    await refused(accepted([await issue({ name: 'l', by: boundRoot, ...forSigning })], pem(boundRoot)));
  });

  test('is an authority, or one that issues for servers, or is not valid yet', async () => {
    const usages = KeyUsageFlags.keyCertSign | KeyUsageFlags.digitalSignature;
    const itself = await issue({ name: 'l', by: root, ...forSigning, isAuthority: true, usages });
    await expect(accepted([itself])).rejects.toThrow('it is that of an authority');
    const servers = await authority('servers', { by: root, purposes: [serverAuthentication] });
    await refused(accepted([await issue({ name: 'l', by: servers, ...forSigning }), servers]));
    const later = await issue({ name: 'l', by: root, ...forSigning, from: 10, to: 20 });
    await expect(accepted([later])).rejects.toThrow('it is not valid yet');
  });

  test('while a right chain is found among others, in any order', async () => {
    const leaf = await issue({ name: 'leaf', by: between, ...forSigning });
    const gone = await authority('gone');
    const twin = (by: Issued, rest: Partial<Wanted> = {}) =>
      issue({ name: 'between', by, isAuthority: true, usages: KeyUsageFlags.keyCertSign, keys: between.keys, ...rest });
    const [cross, expired] = [await twin(gone), await twin(root, { from: -60, to: -40 })];
    for (const others of [
      [between, cross],
      [cross, between],
      [expired, between],
      [root, between, between],
      [gone, between],
    ])
      await accepted([leaf, ...others]);
  });
});

test('an identity is read as it is written, and told by one digest however its authorities are ordered', async () => {
  const other = await authority('other');
  const identity = { subject: email, issuer: undefined, authorities: pem(root, other) };
  expect(identityIn(JSON.stringify(identity))).toEqual(identity);
  expect(digestOfIdentity(identity)).toMatch(/^[0-9a-f]{64}$/);
  expect(digestOfIdentity({ ...identity, authorities: pem(other, root) })).toBe(digestOfIdentity(identity));
  expect(digestOfIdentity({ ...identity, issuer: 'https://a.example' })).not.toBe(digestOfIdentity(identity));
  for (const text of [
    '',
    '7',
    'null',
    '{}',
    JSON.stringify({ ...identity, issuer: 7 }),
    JSON.stringify({ ...identity, authorities: 'a' }),
  ])
    expect(() => identityIn(text)).toThrow(expect.objectContaining({ name: 'UntrustedModel' }));
});

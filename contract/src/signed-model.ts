import { createHash, createPublicKey, createVerify, KeyObject, verify } from 'node:crypto';
import { certifiedKey, digestOfIdentity, type SignerIdentity } from './signer-certificate.ts';
import { UntrustedModel } from './untrusted-model.ts';

/** Who has to have signed: who has a key, or whoever an authority has given a certificate to. */
export type ModelSigner = KeyObject | SignerIdentity;

/** By which the operator knows whose signature a pod has checked: 64 hexadecimal digits. */
export function digestOfSigner(signer: ModelSigner): string {
  return signer instanceof KeyObject ? fingerprintOf(signer) : digestOfIdentity(signer);
}

/** In words. */
export function signerInWords(signer: ModelSigner): string {
  return signer instanceof KeyObject ? `the key ${fingerprintOf(signer)}` : signer.subject;
}

/** A file of a model as it was read. */
export interface SignedFile {
  /** As it is called in messages. */
  readonly name: string;
  /** Where it is: it may end with its name in the folder that was signed. */
  readonly location: string;
  /** Of its bytes, in lower-case hexadecimal. */
  readonly sha256: string;
  /** Its bytes, from the beginning whenever it is called. */
  readonly read: () => AsyncIterable<Buffer>;
}

/** Larger ones are no signatures. */
export const mostSignatureBytes = 2 ** 20;

/** Of one statement; each is checked over all of it. */
const mostSignatures = 16;

/** Pure Ed25519 needs all bytes at once (RFC 8032, section 5.1.7), so no more of them are signed by themselves. */
const mostEd25519Bytes = 64 * 2 ** 20;

/** What is signed with a key of a curve: its own digest by the algorithms of Sigstore, and SHA-256 as cosign signs with any. */
const digestsOfCurves: Readonly<Record<string, readonly string[]>> = {
  prime256v1: ['sha256'],
  secp384r1: ['sha384', 'sha256'],
  secp521r1: ['sha512', 'sha256'],
};

/**
 * Reads a public key.
 *
 * @param pem SubjectPublicKeyInfo, `-----BEGIN PUBLIC KEY-----`
 * @throws UntrustedModel when it is no key of Ed25519 or ECDSA on P-256, P-384 or P-521
 */
export function signingKeyOf(pem: string): KeyObject {
  let key: KeyObject;
  try {
    // A private key has a public one in it, and is to be kept from here.
    if (!/^\s*-----BEGIN PUBLIC KEY-----/.test(pem)) throw new Error('it has another first line');
    key = createPublicKey(pem);
  } catch (error) {
    throw new UntrustedModel(
      `the key of the signature is not ${keyForm} in PEM, which begins with -----BEGIN PUBLIC KEY-----: ${wordsOf(error)}`,
    );
  }
  return signingKey(key);
}

function signingKey(key: KeyObject): KeyObject {
  if (key.asymmetricKeyType === 'ed25519' || digestsOf(key).length > 0) return key;
  throw new UntrustedModel(`the key of the signature is one of ${key.asymmetricKeyType}, not ${keyForm}`);
}

const keyForm = 'a public key of Ed25519 or ECDSA (P-256, P-384, P-521)';

/** SHA-256 of a key's SubjectPublicKeyInfo, as `openssl pkey -pubin -outform DER | sha256sum` prints it. */
export function fingerprintOf(key: KeyObject): string {
  return createHash('sha256')
    .update(key.export({ format: 'der', type: 'spki' }))
    .digest('hex');
}

/**
 * Checks that a key has signed a model. Three forms are known: what `cosign sign-blob` writes, which is a signature of the
 * bytes in Base64; the same in a Sigstore bundle (`messageSignature`); and the bundle of the OpenSSF Model Signing specification
 * v1.0, a DSSE envelope of an in-toto statement that has the digests of all files. Bundles may have the certificate of who has signed. Whether it
 * is in a transparency log is not asked.
 *
 * @param text the signature, in any of the forms
 * @param files the model itself first
 * @throws UntrustedModel with the reason
 */
export async function verifySignature(
  text: string,
  signer: ModelSigner,
  files: readonly [SignedFile, ...SignedFile[]],
  now: Date,
): Promise<void> {
  const form = formOf(text);
  const key = signer instanceof KeyObject ? signer : signingKey(await certifiedKey(form.chain, signer, now));
  switch (form.kind) {
    case 'bytes':
      return verifyBytes(form.signature, key, files);
    case 'statement':
      return verifyStatement(form, key, files);
  }
}

/** The certificate of who has signed, and what leads from it to an authority, in DER. */
interface Certificates {
  readonly chain: readonly Buffer[];
}

type Form = Certificates &
  (
    | { readonly kind: 'bytes'; readonly signature: Buffer }
    | {
        readonly kind: 'statement';
        readonly payload: Buffer;
        readonly payloadType: string;
        readonly signatures: readonly Buffer[];
      }
  );

function formOf(text: string): Form {
  const trimmed = text.trim();
  if (!trimmed.startsWith('{')) return { kind: 'bytes', signature: base64Of(trimmed, 'the signature'), chain: [] };
  const bundle = recordOf(parsed(trimmed, 'the signature'), 'the signature');
  const { messageSignature, base64Signature, dsseEnvelope } = bundle;
  const chain = chainOf(bundle['verificationMaterial']);
  // Of cosign before its third version.
  if (base64Signature !== undefined)
    return { kind: 'bytes', signature: base64Of(base64Signature, 'base64Signature of the signature'), chain };
  if (messageSignature !== undefined) {
    const { signature } = recordOf(messageSignature, 'messageSignature of the signature');
    return { kind: 'bytes', signature: base64Of(signature, 'messageSignature.signature of the signature'), chain };
  }
  if (dsseEnvelope === undefined)
    throw new UntrustedModel(
      'the signature is a JSON document without messageSignature or dsseEnvelope: it is no Sigstore bundle',
    );
  const { payload, payloadType, signatures } = recordOf(dsseEnvelope, 'dsseEnvelope of the signature');
  if (Array.isArray(signatures) && signatures.length > mostSignatures)
    throw new UntrustedModel(`dsseEnvelope of the signature has more than ${mostSignatures} signatures`);
  if (typeof payloadType !== 'string' || !Array.isArray(signatures))
    throw new UntrustedModel('dsseEnvelope of the signature has no payloadType or no signatures');
  return {
    kind: 'statement',
    chain,
    payload: base64Of(payload, 'dsseEnvelope.payload of the signature'),
    payloadType,
    signatures: signatures.map((one: unknown) =>
      base64Of(recordOf(one, 'a signature of dsseEnvelope').sig, 'sig of dsseEnvelope'),
    ),
  };
}

/** In a Sigstore bundle: one certificate, or a chain of them; neither where it was signed with a key alone. */
function chainOf(material: unknown): readonly Buffer[] {
  if (material === undefined || material === null) return [];
  const { certificate, x509CertificateChain } = recordOf(material, 'verificationMaterial of the signature');
  const one = (value: unknown) =>
    base64Of(
      recordOf(value, 'a certificate of the signature')['rawBytes'],
      'rawBytes of a certificate of the signature',
    );
  if (certificate !== undefined) return [one(certificate)];
  if (x509CertificateChain === undefined) return [];
  const { certificates } = recordOf(x509CertificateChain, 'x509CertificateChain of the signature');
  return Array.isArray(certificates) ? certificates.map(one) : [];
}

async function verifyBytes(
  signature: Buffer,
  key: KeyObject,
  [model, ...others]: readonly [SignedFile, ...SignedFile[]],
): Promise<void> {
  if (others.length > 0)
    throw new UntrustedModel(
      `the signature is of one file, and the model has ${others.map(({ name }) => name).join(', ')} beside it: sign the folder (model_signing sign key)`,
    );
  const isSigned =
    key.asymmetricKeyType === 'ed25519'
      ? await isEd25519Of(signature, key, model)
      : await isEcdsaOf(signature, key, model);
  if (!isSigned)
    throw new UntrustedModel(
      `the signature is not one of ${model.name} (sha256 ${model.sha256}) by the key ${fingerprintOf(key)}: the bytes are other ones, or somebody else has signed them`,
    );
}

async function isEd25519Of(signature: Buffer, key: KeyObject, model: SignedFile): Promise<boolean> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of model.read()) {
    bytes += chunk.length;
    if (bytes > mostEd25519Bytes)
      throw new UntrustedModel(
        `${model.name} has more than ${mostEd25519Bytes} bytes, and Ed25519 needs them all at once: sign its digest instead (model_signing sign key), or use a key of ECDSA`,
      );
    chunks.push(chunk);
  }
  return verify(null, Buffer.concat(chunks), key, signature);
}

async function isEcdsaOf(signature: Buffer, key: KeyObject, model: SignedFile): Promise<boolean> {
  const verifiers = digestsOf(key).map((digest) => createVerify(digest));
  for await (const chunk of model.read()) for (const verifier of verifiers) verifier.update(chunk);
  return verifiers.some((verifier) => verifier.verify(key, signature));
}

function digestsOf(key: KeyObject): readonly string[] {
  return digestsOfCurves[key.asymmetricKeyDetails?.namedCurve ?? ''] ?? [];
}

const statementType = 'application/vnd.in-toto+json';
const predicateType = 'https://model_signing/signature/v1.0';

function verifyStatement(
  { payload, payloadType, signatures }: Extract<Form, { readonly kind: 'statement' }>,
  key: KeyObject,
  files: readonly [SignedFile, ...SignedFile[]],
): void {
  const signed = preAuthenticationEncoding(payloadType, payload);
  const digests = key.asymmetricKeyType === 'ed25519' ? [null] : digestsOf(key);
  const isSigned = signatures.some((signature) => digests.some((digest) => verify(digest, signed, key, signature)));
  if (!isSigned)
    throw new UntrustedModel(
      `the statement of the signature is not signed by the key ${fingerprintOf(key)}: it was changed, or somebody else has signed it`,
    );
  if (payloadType !== statementType)
    throw new UntrustedModel(`what is signed is a ${shortened(payloadType)}, not ${statementType}`);
  const statement = recordOf(parsed(payload.toString(), 'the statement'), 'the statement');
  if (statement.predicateType !== predicateType)
    throw new UntrustedModel(
      `what is signed is a statement of the type ${shortened(statement.predicateType)}, not ${predicateType}: it does not say that a model is this one`,
    );
  const { resources } = recordOf(statement.predicate, 'predicate of the statement');
  if (!Array.isArray(resources)) throw new UntrustedModel('predicate of the statement has no resources');
  compare(files, resources.map(resourceOf));
}

/** DSSE protocol v1.0.0 of secure-systems-lab. */
function preAuthenticationEncoding(type: string, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.length} `), payload]);
}

interface Resource {
  readonly name: unknown;
  readonly digest: unknown;
}

function resourceOf(value: unknown): Resource {
  const { name, digest, algorithm } = recordOf(value, 'a resource of the statement');
  if (algorithm !== 'sha256')
    throw new UntrustedModel(
      `the statement has digests of ${shortened(algorithm)}, not of sha256: sign the files whole, with the default of model_signing`,
    );
  return { name, digest };
}

/**
 * Files are found by their names below the folder that was signed, which is where the longest name in the statement that the
 * model's location ends with says: a folder may have a model.onnx and an onnx/model.onnx, and they are not the same. Of a model in
 * one file that was signed by itself, the name does not matter.
 */
function compare([model, ...others]: readonly [SignedFile, ...SignedFile[]], resources: readonly Resource[]): void {
  const [only, ...more] = resources;
  const isAlone = only !== undefined && more.length === 0 && others.length === 0;
  const names = resources.flatMap(({ name }) => (isNameOf(name, model.location) ? [name] : []));
  const [longest] = names.toSorted((a, b) => b.length - a.length);
  const root = longest === undefined ? undefined : model.location.slice(0, model.location.length - longest.length);
  const isSigned = ({ location, sha256 }: SignedFile) =>
    isAlone
      ? only.digest === sha256
      : root !== undefined &&
        location.startsWith(root) &&
        resources.some(({ name, digest }) => name === location.slice(root.length) && digest === sha256);
  const wrong = [model, ...others].find((file) => !isSigned(file));
  if (wrong === undefined) return;
  throw new UntrustedModel(
    root === undefined && !isAlone
      ? `the statement of the signature does not name ${model.name}: sign the folder that it is in`
      : `${wrong.name} has sha256 ${wrong.sha256}, which the statement of the signature does not have for it: the bytes are other ones than were signed`,
  );
}

function isNameOf(name: unknown, location: string): name is string {
  return typeof name === 'string' && name !== '' && (location === name || location.endsWith(`/${name}`));
}

function parsed(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new UntrustedModel(`${what} is no JSON`);
  }
}

function recordOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  throw new UntrustedModel(`${what} is no JSON object`);
}

function base64Of(value: unknown, what: string): Buffer {
  const text = typeof value === 'string' ? value.replace(/\s+/g, '') : '';
  if (/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return Buffer.from(text, 'base64');
  throw new UntrustedModel(`${what} is not in Base64`);
}

const mostShown = 100;

function shortened(value: unknown): string {
  return String(JSON.stringify(value)).slice(0, mostShown);
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

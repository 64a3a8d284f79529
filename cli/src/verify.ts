import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, relative, resolve, sep } from 'node:path';
import {
  type ModelSigner,
  mostSignatureBytes,
  type SignedFile,
  signerInWords,
  signingKeyOf,
  verifySignature,
} from '../../contract/src/signed-model.ts';
import { certificatesIn } from '../../contract/src/signer-certificate.ts';
import { UntrustedModel } from '../../contract/src/untrusted-model.ts';

/** Larger ones are no keys, and no authorities. */
const mostKeyBytes = 65_536;

/** Who has to have signed: who has a key, or somebody to whom an authority has given a certificate. */
export type AskedSigner =
  | { readonly keyFile: string }
  | { readonly authoritiesFile: string; readonly subject: string; readonly issuer: string | undefined };

/**
 * Checks the signature of a model as a pod does.
 *
 * @param beside files that are named in it as they lie beside it
 * @returns who has signed what, in words
 * @throws UntrustedModel with the reason
 */
export async function verified(
  model: string,
  beside: readonly string[],
  asked: AskedSigner,
  signatureFile: string,
): Promise<string> {
  const signer = await signerOf(asked);
  const signature = await smallText(signatureFile, mostSignatureBytes);
  const nameOf = (path: string) => relative(dirname(model), path).split(sep).join('/');
  const first = await signedFile(model, nameOf(model));
  const others = await Promise.all(beside.map((path) => signedFile(path, nameOf(path))));
  await verifySignature(signature, signer, [first, ...others], new Date());
  const files = [first, ...others].map(({ name, sha256 }) => `${sha256}  ${name}`);
  return [`signed by ${signerInWords(signer)}:`, ...files].join('\n');
}

async function signerOf(asked: AskedSigner): Promise<ModelSigner> {
  if ('keyFile' in asked) return signingKeyOf(await smallText(asked.keyFile, mostKeyBytes));
  const { authoritiesFile, subject, issuer } = asked;
  const authorities = await smallText(authoritiesFile, mostKeyBytes);
  certificatesIn(authorities);
  return { subject, issuer, authorities };
}

async function signedFile(path: string, name: string): Promise<SignedFile> {
  const hash = createHash('sha256');
  const read = (): AsyncIterable<Buffer> => createReadStream(path);
  try {
    for await (const chunk of read()) hash.update(chunk);
  } catch (error) {
    throw unreadable(path, error);
  }
  return { name, location: resolve(path).split(sep).join('/'), sha256: hash.digest('hex'), read };
}

async function smallText(path: string, mostBytes: number): Promise<string> {
  try {
    await using file = await open(path);
    const { bytesRead, buffer } = await file.read(Buffer.alloc(mostBytes + 1));
    if (bytesRead <= mostBytes) return buffer.toString('utf8', 0, bytesRead);
  } catch (error) {
    throw unreadable(path, error);
  }
  throw new UntrustedModel(`${path} has more than ${mostBytes} bytes: it is another file than is meant`);
}

function unreadable(path: string, error: unknown): UntrustedModel {
  return new UntrustedModel(`${path} cannot be read: ${error instanceof Error ? error.message : error}`);
}

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, relative, resolve, sep } from 'node:path';
import {
  fingerprintOf,
  mostSignatureBytes,
  type SignedFile,
  signingKeyOf,
  UntrustedModel,
  verifySignature,
} from '../../contract/src/signed-model.ts';

/** Larger ones are no keys. */
const mostKeyBytes = 65_536;

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
  keyFile: string,
  signatureFile: string,
): Promise<string> {
  const key = signingKeyOf(await smallText(keyFile, mostKeyBytes));
  const signature = await smallText(signatureFile, mostSignatureBytes);
  const nameOf = (path: string) => relative(dirname(model), path).split(sep).join('/');
  const first = await signedFile(model, nameOf(model));
  const others = await Promise.all(beside.map((path) => signedFile(path, nameOf(path))));
  await verifySignature(signature, key, [first, ...others]);
  const files = [first, ...others].map(({ name, sha256 }) => `${sha256}  ${name}`);
  return [`signed by the key ${fingerprintOf(key)}:`, ...files].join('\n');
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

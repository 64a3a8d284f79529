import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { signaturePath } from '../../../contract/src/model-bundle.ts';
import {
  type ModelSigner,
  mostSignatureBytes,
  type SignedFile,
  signingKeyOf,
  verifySignature,
} from '../../../contract/src/signed-model.ts';
import { identityIn } from '../../../contract/src/signer-certificate.ts';
import { UntrustedModel } from '../../../contract/src/untrusted-model.ts';
import { type CopyOptions, copyFile } from './copied-file.ts';
import type { KeptFile, KeptModel } from './kept-model.ts';
import type { ModelSource } from './source.ts';
import { StartupError } from './startup-error.ts';

/** Who has to have signed a model, and where the signature is. */
export interface Signer {
  readonly by: ModelSigner;
  /** Its name beside the model; that of the model with `.sig` behind it when undefined. */
  readonly file: string | undefined;
}

export interface SignerSettings {
  /** The public key, in PEM, that has to have signed the model; undefined: none has to. */
  readonly modelSignatureKey: string | undefined;
  /** Who has to have signed it, with a certificate: a SignerIdentity as JSON; undefined: nobody has to. */
  readonly modelSignatureIdentity: string | undefined;
  readonly modelSignatureFile: string | undefined;
}

/** @throws StartupError InvalidConfiguration */
export function signerOf({
  modelSignatureKey: key,
  modelSignatureIdentity: identity,
  modelSignatureFile: file,
}: SignerSettings): Signer | undefined {
  try {
    if (key !== undefined) return { by: signingKeyOf(key), file };
    return identity === undefined ? undefined : { by: identityIn(identity), file };
  } catch (error) {
    if (!(error instanceof UntrustedModel)) throw error;
    const field = key === undefined ? 'identity' : 'publicKey';
    throw new StartupError('InvalidConfiguration', `${error.message}; correct spec.model.signature.${field}`);
  }
}

export const signatureOf = (folder: string) => join(folder, signaturePath);

/** @throws StartupError ModelUntrusted where there is none, ModelFetchFailed; what reading and writing throw */
export async function copySignature(
  source: ModelSource,
  path: string,
  options: Pick<CopyOptions, 'credentials' | 'signal'>,
): Promise<void> {
  try {
    await copyFile(source, path, { ...options, maxBytes: mostSignatureBytes, onProgress: () => undefined });
  } catch (error) {
    if (!(error instanceof StartupError) || error.reason === 'ModelFetchFailed') throw error;
    throw new StartupError(
      'ModelUntrusted',
      `the model has no signature that can be read: ${error.message}; put it there, or name it in spec.model.signature.file`,
      { cause: error },
    );
  }
}

/** @throws StartupError ModelUntrusted */
export async function checkSignature(
  folder: string,
  files: readonly [KeptFile, ...KeptFile[]],
  { by }: Signer,
): Promise<void> {
  const signed = ({ path, name, location, sha256 }: KeptFile): SignedFile => ({
    name,
    location,
    sha256,
    read: () => createReadStream(join(folder, path)),
  });
  const [model, ...others] = files;
  try {
    const text = await readFile(signatureOf(folder), 'utf8');
    await verifySignature(text, by, [signed(model), ...others.map(signed)], new Date());
  } catch (error) {
    if (error instanceof UntrustedModel) throw new StartupError('ModelUntrusted', error.message, { cause: error });
    throw error;
  }
}

/** Whether what an earlier container has copied is signed as it has to be: it may have been asked for another signer. */
export async function isStillTrusted(
  folder: string,
  { files }: KeptModel,
  signer: Signer | undefined,
): Promise<boolean> {
  if (signer === undefined) return true;
  return checkSignature(folder, files, signer).then(
    () => true,
    () => false,
  );
}

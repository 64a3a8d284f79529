/** Bytes, or what is signed of them, are not as their signer left them, or the signature is none that can be checked. */
export class UntrustedModel extends Error {
  override readonly name = 'UntrustedModel';
}

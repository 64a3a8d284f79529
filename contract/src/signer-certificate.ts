import { createHash, type KeyObject, X509Certificate } from 'node:crypto';
import { UntrustedModel } from './untrusted-model.ts';

/** Whose certificate has to be that of a signature. */
export interface SignerIdentity {
  /** One of the names that the certificate is for: an e-mail address, a URI or the name of a host. */
  readonly subject: string;
  /** Who has told the authority who that is, as the authorities of Sigstore write it; undefined: that does not matter. */
  readonly issuer: string | undefined;
  /** The certificates of the authorities that may have issued it, in PEM. */
  readonly authorities: string;
}

/** Of a list of authorities. */
const mostAuthorities = 16;
/** Of a signature: those of more would be tried in all orders. */
const mostInChain = 6;
const mostCertificateBytes = 65_536;

const extensions = {
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  extendedKeyUsage: '2.5.29.37',
  basicConstraints: '2.5.29.19',
  /** Sigstore's, the second in the place of the first: https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md. */
  issuer: '1.3.6.1.4.1.57264.1.1',
  issuerAsText: '1.3.6.1.4.1.57264.1.8',
} as const;
/** What the engine looks at, or this module: the above, and constraints of names and of policies. */
const known: ReadonlySet<string> = new Set([
  extensions.keyUsage,
  extensions.subjectAlternativeName,
  extensions.extendedKeyUsage,
  extensions.basicConstraints,
  ...['2.5.29.30', '2.5.29.32', '2.5.29.33', '2.5.29.36', '2.5.29.54'],
]);
const codeSigning = '1.3.6.1.5.5.7.3.3';

/** Kinds of names of RFC 5280, section 4.2.1.6: e-mail addresses, hosts, URIs. */
const kindsOfNames: readonly number[] = [1, 2, 6];

/** What pods tell by whose identity they went: SHA-256 of it. */
export function digestOfIdentity({ subject, issuer, authorities }: SignerIdentity): string {
  const fingerprints = certificatesIn(authorities).map((der) => createHash('sha256').update(der).digest('hex'));
  const text = JSON.stringify([subject, issuer ?? null, fingerprints.toSorted()]);
  return createHash('sha256').update(text).digest('hex');
}

/**
 * Reads an identity that is written as JSON.
 *
 * @throws UntrustedModel where it is none, or no authority of it can be read
 */
export function identityIn(text: string): SignerIdentity {
  const value = parsed(text);
  const [subject, issuer, authorities] = ['subject', 'issuer', 'authorities'].map((name) => memberOf(value, name));
  const isIssuer = issuer === undefined || typeof issuer === 'string';
  if (typeof subject !== 'string' || !isIssuer || typeof authorities !== 'string')
    throw new UntrustedModel('the identity of who has signed is no object with subject and authorities, each a text');
  certificatesIn(authorities);
  return { subject, issuer, authorities };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Reads certificates.
 *
 * @param pem one behind the other, `-----BEGIN CERTIFICATE-----`
 * @returns each in DER
 * @throws UntrustedModel where there is none, or one that cannot be read
 */
export function certificatesIn(pem: string): readonly Buffer[] {
  const found = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    if (found.length > 0 && found.length <= mostAuthorities) return found.map((one) => new X509Certificate(one).raw);
  } catch {
    // Said below.
  }
  throw new UntrustedModel(
    `the authorities are not from 1 to ${mostAuthorities} certificates in PEM, which begin with -----BEGIN CERTIFICATE-----`,
  );
}

/**
 * Finds the key of a signer: that of a certificate which one of the authorities has issued to the subject, for signing. The path is that
 * of RFC 5280, section 6, as of when the certificate began to be valid: what it has signed stays signed, and nobody
 * is asked whether it was revoked since.
 *
 * @param chain in DER: that of the signer, and what leads from it to an authority
 * @throws UntrustedModel with the reason
 */
export async function certifiedKey(
  chain: readonly Buffer[],
  { subject, issuer, authorities }: SignerIdentity,
): Promise<KeyObject> {
  const [own, ...others] = chain;
  if (own === undefined)
    throw new UntrustedModel('the signature has no certificate: who has signed cannot be told by it');
  if (chain.length > mostInChain || chain.some(({ length }) => length > mostCertificateBytes))
    throw new UntrustedModel('the signature has more, or larger, certificates than are looked at');
  // What is signed with a key alone does without it, and without its memory.
  const { Certificate, CertificateChainValidationEngine } = await import('pkijs');
  const read = (der: Buffer) => {
    try {
      return Certificate.fromBER(new Uint8Array(der));
    } catch (error) {
      throw new UntrustedModel(`a certificate of the signature cannot be read: ${String(error)}`);
    }
  };
  const trusted = certificatesIn(authorities);
  const isTrusted = (der: Buffer) => trusted.some((each) => each.equals(der));
  const leaf = read(own);
  const names = namesOf(leaf);
  if (!names.includes(subject))
    throw new UntrustedModel(
      `the certificate of the signature is for ${names.join(', ') || 'nobody'}, not for ${subject}`,
    );
  const attested = issuerOf(leaf);
  if (issuer !== undefined && attested !== issuer)
    throw new UntrustedModel(`who that is was told by ${attested ?? 'nobody that is named'}, not by ${issuer}`);
  const misuse = misuseOf(leaf);
  if (misuse !== undefined) throw new UntrustedModel(`the certificate of the signature is not for signing: ${misuse}`);
  if (isTrusted(own)) throw new UntrustedModel('the certificate of the signature is that of an authority itself');
  const engine = new CertificateChainValidationEngine({
    trustedCerts: trusted.map(read),
    // That of the signer comes last.
    certs: [...others.filter((der) => !isTrusted(der)).map(read), leaf],
    checkDate: leaf.notBefore.value,
  });
  const { result, resultMessage, certificatePath = [] } = await engine.verify();
  const problem = result ? overstepOf(certificatePath) : resultMessage;
  if (problem !== undefined)
    throw new UntrustedModel(`the certificate of the signature was issued by none of the authorities: ${problem}`);
  return new X509Certificate(own).publicKey;
}

/**
 * What the engine does not look at: how many authorities one may have below it (RFC 5280, section 4.2.1.9), and extensions that nobody
 * here knows and that must not be passed over (section 4.2).
 *
 * @param path from that of the signer to that of an authority
 */
function overstepOf(path: readonly Certified[]): string | undefined {
  let authoritiesBelow = 0;
  for (const [at, certificate] of path.entries()) {
    const unknown = (certificate.extensions ?? []).find(({ extnID, critical }) => critical && !known.has(extnID));
    if (unknown !== undefined) return `one has the extension ${unknown.extnID}, which is critical, and not known here`;
    if (at === 0) continue;
    const basic = extensionOf(certificate, extensions.basicConstraints)?.parsedValue;
    const most = memberOf(basic, 'pathLenConstraint');
    if (most !== undefined && !(typeof most === 'number' && authoritiesBelow <= most))
      return 'an authority has more others below it than it may';
    authoritiesBelow += 1;
  }
  return undefined;
}

/** As far as it matters. */
interface Certified {
  readonly extensions?: readonly {
    readonly extnID: string;
    readonly critical: boolean;
    readonly extnValue: { readonly valueBlock: { readonly valueHexView: Uint8Array } };
    readonly parsedValue?: unknown;
  }[];
}

function extensionOf({ extensions: all = [] }: Certified, id: string) {
  return all.find(({ extnID }) => extnID === id);
}

function namesOf(certificate: Certified): readonly string[] {
  const parsed = extensionOf(certificate, extensions.subjectAlternativeName)?.parsedValue;
  const names: unknown = memberOf(parsed, 'altNames');
  if (!Array.isArray(names)) return [];
  return names.flatMap((name: unknown) => {
    const [type, value] = [memberOf(name, 'type'), memberOf(name, 'value')];
    return typeof type === 'number' && kindsOfNames.includes(type) && typeof value === 'string' ? [value] : [];
  });
}

function issuerOf(certificate: Certified): string | undefined {
  const text = extensionOf(certificate, extensions.issuerAsText)?.extnValue.valueBlock.valueHexView;
  // A UTF8String of DER, of less than 128 bytes or of up to 255.
  if (text?.[0] === 0x0c) return Buffer.from(text.subarray((text[1] ?? 0) < 128 ? 2 : 3)).toString();
  const plain = extensionOf(certificate, extensions.issuer)?.extnValue.valueBlock.valueHexView;
  return plain === undefined ? undefined : Buffer.from(plain).toString();
}

/** @returns what a certificate is for instead of signing */
function misuseOf(certificate: Certified): string | undefined {
  const usage = extensionOf(certificate, extensions.keyUsage)?.extnValue.valueBlock.valueHexView;
  // A BIT STRING of DER: its tag, its length, how many bits are unused, the bits, the first of which is digitalSignature.
  if (usage !== undefined && ((usage[3] ?? 0) & 0x80) === 0) return 'its key usage has no digitalSignature';
  const extended = extensionOf(certificate, extensions.extendedKeyUsage);
  if (extended === undefined) return undefined;
  const purposes: unknown = memberOf(extended.parsedValue, 'keyPurposes');
  return Array.isArray(purposes) && purposes.includes(codeSigning)
    ? undefined
    : 'its extended key usage has no codeSigning';
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && name in value ? Reflect.get(value, name) : undefined;
}

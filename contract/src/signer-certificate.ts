import { createHash, type KeyObject, X509Certificate } from 'node:crypto';
import {
  type Certificate,
  codeSigning,
  extensionIds,
  extensionOf,
  isIssuedBy,
  memberOf,
  readCertificate,
} from './certificate-path.ts';
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
const mostShown = 200;

/** Sigstore's, the second in the place of the first: https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md. */
const issuerIds = { plain: '1.3.6.1.4.1.57264.1.1', text: '1.3.6.1.4.1.57264.1.8' } as const;

/** Kinds of names of RFC 5280, section 4.2.1.6. */
const kindsOfNames = { email: 1, host: 2, uri: 6 } as const;

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
 * Finds the key of a signer: that of a certificate which one of the authorities has issued to the subject, for signing, as of when the
 * certificate began to be valid. What it has signed stays signed, and nobody is asked whether it was revoked since.
 *
 * @param chain in DER: that of the signer, and what leads from it to an authority
 * @throws UntrustedModel with the reason
 */
export async function certifiedKey(
  chain: readonly Buffer[],
  { subject, issuer, authorities }: SignerIdentity,
  now: Date,
): Promise<KeyObject> {
  const [own, ...others] = chain;
  if (own === undefined)
    throw new UntrustedModel('the signature has no certificate: who has signed cannot be told by it');
  if (chain.length > mostInChain || chain.some(({ length }) => length > mostCertificateBytes))
    throw new UntrustedModel('the signature has more, or larger, certificates than are looked at');
  const leaf = await readCertificate(own);
  const names = namesOf(leaf, kindOf(subject));
  if (!names.includes(subject)) {
    const found = (names.join(', ') || 'nobody of that kind').slice(0, mostShown);
    throw new UntrustedModel(`the certificate of the signature is for ${found}, not for ${subject}`);
  }
  const attested = issuerOf(leaf);
  if (issuer !== undefined && attested !== issuer)
    throw new UntrustedModel(
      `who that is was told by ${attested?.slice(0, mostShown) ?? 'nobody that is named'}, not by ${issuer}`,
    );
  const misuse = misuseOf(leaf, now);
  if (misuse !== undefined) throw new UntrustedModel(`the certificate of the signature is not for signing: ${misuse}`);
  const between = await Promise.all(others.map(readCertificate));
  const trusted = await Promise.all(certificatesIn(authorities).map(readCertificate));
  if (!isIssuedBy(leaf, between, trusted, leaf.x509.validFromDate))
    throw new UntrustedModel(
      'the certificate of the signature was issued by none of the authorities: there is no path to one that was valid then, may issue it, and knows no constraints of names',
    );
  return leaf.x509.publicKey;
}

function kindOf(subject: string): number {
  if (subject.includes('://')) return kindsOfNames.uri;
  return subject.includes('@') ? kindsOfNames.email : kindsOfNames.host;
}

function namesOf(certificate: Certificate, kind: number): readonly string[] {
  const parsed = extensionOf(certificate, extensionIds.subjectAlternativeName)?.parsedValue;
  const names: unknown = memberOf(parsed, 'altNames');
  if (!Array.isArray(names)) return [];
  return names.flatMap((name: unknown) => {
    const value = memberOf(name, 'value');
    return memberOf(name, 'type') === kind && typeof value === 'string' ? [value] : [];
  });
}

function issuerOf(certificate: Certificate): string | undefined {
  const text = extensionOf(certificate, issuerIds.text)?.extnValue.valueBlock.valueHexView;
  // A UTF8String of DER, of less than 128 bytes or of up to 255.
  if (text?.[0] === 0x0c) return Buffer.from(text.subarray((text[1] ?? 0) < 128 ? 2 : 3)).toString();
  const plain = extensionOf(certificate, issuerIds.plain)?.extnValue.valueBlock.valueHexView;
  return plain === undefined ? undefined : Buffer.from(plain).toString();
}

/** @returns what a certificate is for instead of signing */
function misuseOf(certificate: Certificate, now: Date): string | undefined {
  const { x509 } = certificate;
  if (x509.ca) return 'it is that of an authority';
  if (x509.validFromDate > now) return 'it is not valid yet';
  const usage = extensionOf(certificate, extensionIds.keyUsage)?.extnValue.valueBlock.valueHexView;
  // A BIT STRING of DER: its tag, its length, how many bits are unused, the bits, the first of which is digitalSignature.
  if (usage !== undefined && ((usage[3] ?? 0) & 0x80) === 0) return 'its key usage has no digitalSignature';
  const purposes = x509.keyUsage;
  return purposes === undefined || purposes.includes(codeSigning)
    ? undefined
    : 'its extended key usage has no codeSigning';
}

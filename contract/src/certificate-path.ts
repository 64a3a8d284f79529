import { X509Certificate } from 'node:crypto';
import { UntrustedModel } from './untrusted-model.ts';

/** A certificate, as OpenSSL has read it, and what of its extensions that does not tell. */
export interface Certificate {
  readonly x509: X509Certificate;
  readonly extensions: readonly CertificateExtension[];
}

export interface CertificateExtension {
  readonly extnID: string;
  readonly critical: boolean;
  readonly extnValue: { readonly valueBlock: { readonly valueHexView: Uint8Array } };
  readonly parsedValue?: unknown;
}

/** Object identifiers of RFC 5280, section 4.2.1. */
export const extensionIds = {
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  extendedKeyUsage: '2.5.29.37',
} as const;

/** What is looked at here: nothing else may be critical. Constraints of names are none of these: who has them is refused. */
const known: ReadonlySet<string> = new Set([
  extensionIds.keyUsage,
  extensionIds.subjectAlternativeName,
  extensionIds.basicConstraints,
  extensionIds.extendedKeyUsage,
]);

export const codeSigning = '1.3.6.1.5.5.7.3.3';
const anyPurpose = '2.5.29.37.0';
const leastRsaBits = 2048;
const oldDigests = /sha1(?!\d)|md[245]|sha-?1\b/i;

/** @throws UntrustedModel for what is no certificate, or more than one */
export async function readCertificate(der: Buffer): Promise<Certificate> {
  // What is signed with a key alone does without it, and without its memory.
  const { Certificate: Parsed } = await import('pkijs');
  let x509: X509Certificate;
  let extensions: readonly CertificateExtension[];
  try {
    x509 = new X509Certificate(der);
    extensions = Parsed.fromBER(new Uint8Array(x509.raw)).extensions ?? [];
  } catch (error) {
    throw new UntrustedModel(`a certificate of the signature cannot be read: ${String(error).slice(0, 200)}`);
  }
  // PEM, or what stands behind the DER, would be read by one reader and not by the other.
  if (!x509.raw.equals(der))
    throw new UntrustedModel('a certificate of the signature has more than a certificate in DER');
  if (new Set(extensions.map(({ extnID }) => extnID)).size < extensions.length)
    throw new UntrustedModel('a certificate of the signature has an extension twice');
  return { x509, extensions };
}

export function extensionOf({ extensions }: Certificate, id: string): CertificateExtension | undefined {
  return extensions.find(({ extnID }) => extnID === id);
}

/**
 * Whether one of some authorities has issued a certificate, by way of others that may issue: RFC 5280, section 6, without policies, and
 * stricter where that saves rules. Authorities whose names are constrained are not followed, nor digests and keys that are too weak;
 * those that are listed have to keep all that as well.
 *
 * @param between what may lead from the one to the others, in any order
 * @param at when all of them have to be valid
 */
export function isIssuedBy(
  leaf: Certificate,
  between: readonly Certificate[],
  authorities: readonly Certificate[],
  at: Date,
): boolean {
  const isListed = ({ x509 }: Certificate) => authorities.some((each) => each.x509.raw.equals(x509.raw));
  const candidates = [...authorities, ...between.filter((each) => !isListed(each))];
  // Each is used once in a path, so a circle of them ends.
  const leadsToAuthority = (path: readonly Certificate[]): boolean => {
    const last = path.at(-1);
    return (
      last !== undefined &&
      candidates.some((issuer) => {
        if (path.includes(issuer) || !mayIssue(issuer, path, at) || !hasIssued(issuer, last)) return false;
        return isListed(issuer) || leadsToAuthority([...path, issuer]);
      })
    );
  };
  return isValid(leaf, at) && leadsToAuthority([leaf]);
}

/** @param path from the certificate of the signer to the one below */
function mayIssue(issuer: Certificate, path: readonly Certificate[], at: Date): boolean {
  const { x509 } = issuer;
  const most = memberOf(extensionOf(issuer, extensionIds.basicConstraints)?.parsedValue, 'pathLenConstraint');
  const isLongEnough = most === undefined || (typeof most === 'number' && path.length - 1 <= most);
  const purposes = x509.keyUsage;
  const isForSigning = purposes === undefined || purposes.includes(codeSigning) || purposes.includes(anyPurpose);
  const isConstrained = extensionOf(issuer, extensionIds.nameConstraints) !== undefined;
  return x509.ca && isLongEnough && isForSigning && !isConstrained && isValid(issuer, at);
}

function isValid({ x509, extensions }: Certificate, at: Date): boolean {
  const isKnown = extensions.every(({ extnID, critical }) => !critical || known.has(extnID));
  return isKnown && x509.validFromDate <= at && at <= x509.validToDate;
}

/** Names, identifiers and the right to sign certificates are compared by OpenSSL (X509_check_issued). */
function hasIssued({ x509: issuer }: Certificate, { x509: subject }: Certificate): boolean {
  if (oldDigests.test(subject.signatureAlgorithm ?? '')) return false;
  const { asymmetricKeyType: type = '', asymmetricKeyDetails: { modulusLength = 0 } = {} } = issuer.publicKey;
  if (type.startsWith('rsa') && modulusLength < leastRsaBits) return false;
  return subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
}

export function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && name in value ? Reflect.get(value, name) : undefined;
}

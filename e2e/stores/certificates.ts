import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  type JsonGeneralName,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';

/** An authority of one's own, and what it has signed, in PEM. */
export interface Certificates {
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
}

export async function makeCertificates(...names: readonly JsonGeneralName[]): Promise<Certificates> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const pair = () => webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const days = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 86_400_000) };
  const [own, leaf] = await Promise.all([pair(), pair()]);
  const root = await X509CertificateGenerator.createSelfSigned(
    {
      ...days,
      name: 'CN=own authority',
      keys: own,
      signingAlgorithm: algorithm,
      extensions: [new BasicConstraintsExtension(true)],
    },
    webcrypto,
  );
  const certificate = await X509CertificateGenerator.create(
    {
      ...days,
      subject: 'CN=server',
      issuer: root.subject,
      publicKey: leaf.publicKey,
      signingKey: own.privateKey,
      signingAlgorithm: algorithm,
      extensions: [new SubjectAlternativeNameExtension([...names])],
    },
    webcrypto,
  );
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', leaf.privateKey));
  const key = `-----BEGIN PRIVATE KEY-----\n${der.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END PRIVATE KEY-----\n`;
  return { authority: root.toString('pem'), certificate: certificate.toString('pem'), key };
}

import 'reflect-metadata';
import { generateKeyPairSync } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const yearMilliseconds = 365 * 24 * 3600 * 1000;

interface Authority {
  readonly certificate: x509.X509Certificate;
  readonly key: CryptoKey;
}

/** Clients of the API server, by file name. */
const clients = {
  admin: 'CN=slipway-admin,O=system:masters',
  'controller-manager': 'CN=system:kube-controller-manager',
  scheduler: 'CN=system:kube-scheduler',
  'kubelet-client': 'CN=slipway-api-server,O=system:masters',
  kubelet: 'CN=system:node:slipway,O=system:nodes',
  proxy: 'CN=system:kube-proxy',
} as const;

export type Client = keyof typeof clients;

/**
 * Makes the certificates of a cluster as NAME.crt and NAME.key: `ca`, `api-server` and all clients; `front-proxy-ca` and
 * `front-proxy` for aggregated APIs; and `service-accounts.key|pub`.
 *
 * @param addresses where the API server can be reached: DNS names and IP addresses
 */
export async function makeCertificates(folder: string, addresses: readonly string[]): Promise<void> {
  await mkdir(folder, { recursive: true });
  const [ca, frontProxyCa] = await Promise.all([makeAuthority(folder, 'ca'), makeAuthority(folder, 'front-proxy-ca')]);
  const alternatives = addresses.map((value) => ({
    type: /^[\d.]+$/.test(value) ? ('ip' as const) : ('dns' as const),
    value,
  }));
  await Promise.all([
    issue(folder, 'api-server', 'CN=kube-apiserver', ca, x509.ExtendedKeyUsage.serverAuth, alternatives),
    issue(folder, 'front-proxy', 'CN=front-proxy', frontProxyCa, x509.ExtendedKeyUsage.clientAuth),
    ...Object.entries(clients).map(([name, subject]) =>
      issue(folder, name, subject, ca, x509.ExtendedKeyUsage.clientAuth),
    ),
  ]);
  const { privateKey, publicKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  await writeFile(join(folder, 'service-accounts.key'), privateKey, { mode: 0o600 });
  await writeFile(join(folder, 'service-accounts.pub'), publicKey);
}

async function makeAuthority(folder: string, name: string): Promise<Authority> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=slipway-${name}`,
    keys,
    signingAlgorithm: algorithm,
    ...validity(),
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.digitalSignature, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  await write(folder, name, certificate, keys.privateKey);
  return { certificate, key: keys.privateKey };
}

async function issue(
  folder: string,
  name: string,
  subject: string,
  authority: Authority,
  usage: x509.ExtendedKeyUsage,
  alternatives: x509.JsonGeneralNames = [],
): Promise<void> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.create({
    subject,
    issuer: authority.certificate.subject,
    publicKey: keys.publicKey,
    signingKey: authority.key,
    signingAlgorithm: algorithm,
    ...validity(),
    extensions: [
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([usage]),
      await x509.AuthorityKeyIdentifierExtension.create(authority.certificate),
      ...(alternatives.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(alternatives)]),
    ],
  });
  await write(folder, name, certificate, keys.privateKey);
}

/** From yesterday, so that a clock that is set back does not matter. */
function validity(): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - yearMilliseconds / 365), notAfter: new Date(now + 10 * yearMilliseconds) };
}

async function write(folder: string, name: string, certificate: x509.X509Certificate, key: CryptoKey): Promise<void> {
  const der = await crypto.subtle.exportKey('pkcs8', key);
  await writeFile(join(folder, `${name}.crt`), certificate.toString('pem'));
  await writeFile(join(folder, `${name}.key`), x509.PemConverter.encode(der, 'PRIVATE KEY'), { mode: 0o600 });
}

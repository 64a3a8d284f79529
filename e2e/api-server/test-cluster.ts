import { randomBytes } from 'node:crypto';
import { createClient, type KubeClient } from '../../operator/src/kube/client.ts';
import { isNotFound } from '../../operator/src/kube/errors.ts';
import { openConnection } from '../../operator/src/kube/kubeconfig.ts';
import { type KubeObject, pathOf, type Resource } from '../../operator/src/kube/objects.ts';

/** Files that the setup of the project has made: kubeconfigs of the administrator and of the operator, and what the latter did. */
export const testKubeconfig = () => setUpFile('SLIPWAY_TEST_KUBECONFIG');
export const operatorKubeconfig = () => setUpFile('SLIPWAY_TEST_OPERATOR_KUBECONFIG');
export const auditLog = () => setUpFile('SLIPWAY_TEST_AUDIT_LOG');

function setUpFile(variable: string): string {
  const file = process.env[variable];
  if (file === undefined) throw new Error('these tests need an API server: run them with npm run test:e2e');
  return file;
}

export function testClient(userAgent = 'slipway-test'): KubeClient {
  return createClient({ connection: openConnection({ kubeconfig: testKubeconfig() }), userAgent });
}

/** The name of a namespace that is not there yet. */
export function newNamespaceName(): string {
  return `test-${randomBytes(4).toString('hex')}`;
}

/** Makes a namespace of its own for a test. */
export async function makeNamespace(
  client: KubeClient,
  labels: Readonly<Record<string, string>> = {},
  name = newNamespaceName(),
): Promise<string> {
  await client.call('POST', '/api/v1/namespaces', { body: { metadata: { name, labels } } });
  return name;
}

export async function getOrUndefined<T>(
  client: KubeClient,
  resource: Resource,
  namespace: string,
  name: string,
): Promise<T | undefined> {
  try {
    return await client.call<T>('GET', pathOf(resource, namespace, name));
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

export type AnyObject = KubeObject & {
  // biome-ignore lint/suspicious/noExplicitAny: tests look at fields of many kinds of objects
  readonly spec?: any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly status?: any;
};

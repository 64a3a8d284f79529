import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { dump, load, loadAll } from 'js-yaml';
import type { KubeClient } from '../../operator/src/kube/client.ts';
import { ApiError } from '../../operator/src/kube/errors.ts';
import { linkKeySecret } from '../../operator/src/podlink/link-keys.ts';
import { ensureBinaries } from '../cluster/binaries.ts';
import { eventually } from '../eventually.ts';

/** The operators of these tests have exactly the rights that the chart gives to one. */
export const operatorUser = 'system:serviceaccount:slipway-system:slipway-operator';

const account = '/api/v1/namespaces/slipway-system/serviceaccounts/slipway-operator';
const rbac = '/apis/rbac.authorization.k8s.io/v1';
const leaseRole = 'chart-lease';

export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

interface Rendered {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly Rule[];
}

/** The roles and bindings as the chart renders them. */
export async function renderRights(...values: readonly string[]): Promise<readonly Rendered[]> {
  const { helm } = await ensureBinaries('helm');
  const chart = join(import.meta.dirname, '../../charts/slipway');
  const args = ['template', 'slipway', chart, '-n', 'slipway-system', '--kube-version', '1.37.2'];
  const text = execFileSync(helm, [...args, '--show-only', 'templates/rbac.yaml', ...values], { encoding: 'utf8' });
  return (loadAll(text) as (Rendered | null)[]).filter((object) => object !== null);
}

/** The rules of the operator's own roles, not of users'. */
export function operatorRules(rights: readonly Rendered[]): readonly Rule[] {
  return rights.filter(({ metadata }) => metadata.name === 'slipway-operator').flatMap(({ rules = [] }) => rules);
}

/**
 * Gives an account the chart's rights.
 *
 * @returns the file of a kubeconfig with which an operator has them
 */
export async function grantRights(client: KubeClient, adminKubeconfig: string, folder: string): Promise<string> {
  const make = (path: string, body: object) =>
    client.call('POST', path, { body }).catch((error: unknown) => {
      if (!(error instanceof ApiError && error.reason === 'AlreadyExists')) throw error;
    });
  await make('/api/v1/namespaces', { metadata: { name: 'slipway-system' } });
  await makeKeySecret(client, 'slipway-system');
  await make(account.slice(0, account.lastIndexOf('/')), { metadata: { name: 'slipway-operator' } });
  const rights = await renderRights();
  for (const object of rights) {
    const { namespace } = object.metadata;
    const plural = `${object.kind.toLowerCase()}s`;
    await make(namespace === undefined ? `${rbac}/${plural}` : `${rbac}/namespaces/${namespace}/${plural}`, object);
  }
  const rules = rights.filter(({ kind }) => kind === 'Role').flatMap((role) => role.rules ?? []);
  await make(`${rbac}/clusterroles`, { metadata: { name: leaseRole }, rules });
  return writeOperatorKubeconfig(client, adminKubeconfig, join(folder, 'operator.kubeconfig'));
}

/**
 * Gives an account the rights that the chart gives to an operator of one namespace.
 *
 * @returns the file of a kubeconfig with which an operator has them
 */
export async function grantRightsInOneNamespace(
  client: KubeClient,
  adminKubeconfig: string,
  namespace: string,
): Promise<string> {
  const name = `operator-of-${namespace}`;
  const accounts = account.slice(0, account.lastIndexOf('/'));
  await client.call('POST', accounts, { body: { metadata: { name } } });
  const rights = await renderRights('--set', `operator.watchNamespace=${namespace}`, '--set', 'aggregateRoles=false');
  for (const { metadata, ...object } of rights) {
    const own = { ...metadata, name: `${metadata.name}-of-${namespace}` };
    const reference = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: own.name };
    const subjects = [{ kind: 'ServiceAccount', name, namespace: 'slipway-system' }];
    const binding = object.kind === 'RoleBinding' ? { roleRef: reference, subjects } : {};
    const plural = `${object.kind.toLowerCase()}s`;
    await client.call('POST', `${rbac}/namespaces/${own.namespace}/${plural}`, {
      body: { ...object, metadata: own, ...binding },
    });
  }
  const file = join(dirname(adminKubeconfig), `${name}.kubeconfig`);
  return writeOperatorKubeconfig(client, adminKubeconfig, file, `${accounts}/${name}`);
}

async function writeOperatorKubeconfig(
  client: KubeClient,
  adminKubeconfig: string,
  file: string,
  of = account,
): Promise<string> {
  const { status }: { status: { token: string } } = await client.call('POST', `${of}/token`, {
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 86_400 } },
  });
  const config = load(readFileSync(adminKubeconfig, 'utf8')) as { users: object[]; contexts: object[] };
  const cluster = { cluster: 'slipway', user: 'operator' };
  writeFileSync(
    file,
    dump({
      ...config,
      users: [{ name: 'operator', user: { token: status.token } }],
      contexts: [{ name: 'slipway', context: cluster }],
    }),
    { mode: 0o600 },
  );
  return file;
}

/** As the chart makes it: empty; or with the keys of the operator of all namespaces, with whom there must be no quarrel. */
async function makeKeySecret(client: KubeClient, namespace: string): Promise<void> {
  const path = `/api/v1/namespaces/slipway-system/secrets/${linkKeySecret}`;
  const { data }: { data?: object } = await client.call<{ data?: object }>('GET', path).catch(() => ({}));
  const body = { metadata: { name: linkKeySecret }, ...(data === undefined ? {} : { data }) };
  await client.call('POST', `/api/v1/namespaces/${namespace}/secrets`, { body }).catch((error: unknown) => {
    if (!(error instanceof ApiError && error.reason === 'AlreadyExists')) throw error;
  });
}

/** Lets an operator keep its lease in a namespace of a test, and its keys, as the chart lets it in its own. */
export async function grantLease(client: KubeClient, namespace: string): Promise<void> {
  await makeKeySecret(client, namespace);
  const [, , , accountName] = operatorUser.split(':');
  const body = {
    metadata: { name: leaseRole },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: leaseRole },
    subjects: [{ kind: 'ServiceAccount', name: accountName, namespace: 'slipway-system' }],
  };
  try {
    await client.call('POST', `${rbac}/namespaces/${namespace}/rolebindings`, { body });
  } catch (error) {
    if (error instanceof ApiError && error.reason === 'AlreadyExists') return;
    throw error;
  }
  const review = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user: operatorUser,
      resourceAttributes: { namespace, verb: 'create', group: 'coordination.k8s.io', resource: 'leases' },
    },
  };
  await eventually(
    () =>
      client.call<{ status: { allowed: boolean } }>('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
        body: review,
      }),
    ({ status }) => status.allowed,
  );
}

import { podResource } from '../../operator/src/controller/caches.ts';
import type { KubeClient } from '../../operator/src/kube/client.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';

/** Nodes that run nothing: they are there, and say that they live. */
export const playedNodes = ['node-a', 'node-b', 'node-c', 'node-d'] as const;
const leases = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
/** Those that are silent for 50 s are taken for dead. */
const beatMilliseconds = 10_000;

/** Makes the nodes, and keeps them alive until `stop`, which takes them away. */
export async function startNodes(client: KubeClient): Promise<{ stop(): Promise<void> }> {
  for (const name of playedNodes) {
    await client.call('POST', '/api/v1/nodes', { body: { metadata: { name } } });
    await client.call('POST', leases, { body: { metadata: { name }, spec: { holderIdentity: name } } });
    const conditions = [{ type: 'Ready', status: 'True' }];
    await client.call('PATCH', `/api/v1/nodes/${name}/status`, merge({ status: { conditions } }));
    // New nodes are tainted until they are ready, and a pod of theirs would be sent away.
    await client.call('PATCH', `/api/v1/nodes/${name}`, merge({ spec: { taints: null } }));
  }
  const beat = () =>
    Promise.all(
      playedNodes.map((name) =>
        client.call(
          'PATCH',
          `${leases}/${name}`,
          merge({ spec: { renewTime: microTime(), leaseDurationSeconds: 40 } }),
        ),
      ),
    ).catch(() => undefined);
  await beat();
  const timer = setInterval(() => void beat(), beatMilliseconds);
  return {
    async stop() {
      clearInterval(timer);
      for (const name of playedNodes) {
        await client.call('DELETE', `/api/v1/nodes/${name}`);
        await client.call('DELETE', `${leases}/${name}`);
      }
    },
  };
}

function merge(body: object) {
  return { contentType: 'application/merge-patch+json', body } as const;
}

function microTime(): string {
  return new Date().toISOString().replace('Z', '000Z');
}

/** Gives each pod of a namespace a node, as the scheduler would. */
export async function bindPods(client: KubeClient, namespace: string): Promise<void> {
  const { items }: { items: { metadata: { name: string } }[] } = await client.call(
    'GET',
    pathOf(podResource, namespace),
  );
  for (const [index, { metadata }] of items.entries())
    await client.call('POST', `${pathOf(podResource, namespace, metadata.name)}/binding`, {
      body: {
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { name: metadata.name },
        target: { apiVersion: 'v1', kind: 'Node', name: playedNodes[index % playedNodes.length] },
      },
    });
}

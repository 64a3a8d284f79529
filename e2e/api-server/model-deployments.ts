import type { ModelDeployment } from '../../operator/src/api/model-deployment.ts';
import { modelDeploymentResource, podResource, replicaSetResource } from '../../operator/src/controller/caches.ts';
import { renderAutoscaler } from '../../operator/src/desired/autoscaler.ts';
import { type ChildKind, childKinds, childName, childResources } from '../../operator/src/desired/children.ts';
import { renderDisruptionBudget } from '../../operator/src/desired/disruption-budget.ts';
import type { KubeClient } from '../../operator/src/kube/client.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { revisionResource } from '../../operator/src/rollout/revision.ts';
import { ownRoutes } from '../../operator/src/rollout/routes.ts';
import { eventually } from '../eventually.ts';
import { type AnyObject, getOrUndefined } from './test-cluster.ts';

const model = { version: '1', uri: 'configmap://iris-1/model.onnx', sha256: 'a'.repeat(64) };

/** The ModelDeployments of one namespace, and what the operator makes of them. */
export function modelDeployments(client: KubeClient, namespace: string) {
  const path = (name?: string) => pathOf(modelDeploymentResource, namespace, name);
  const list = async (collection: string): Promise<AnyObject[]> => {
    const { items }: { items: AnyObject[] } = await client.call('GET', collection);
    return items;
  };
  const self = {
    async create(name: string, spec: object = {}): Promise<AnyObject> {
      const body = {
        apiVersion: 'serving.slipway.dev/v1alpha1',
        kind: 'ModelDeployment',
        metadata: { name },
        spec: { model, ...spec },
      };
      return client.call('POST', path(), { body, query: { fieldValidation: 'Strict' } });
    },
    get: (name: string): Promise<AnyObject> => client.call('GET', path(name)),
    /** A JSON merge patch: null removes a field. */
    patch: (name: string, spec: object): Promise<AnyObject> =>
      client.call('PATCH', path(name), { body: { spec }, contentType: 'application/merge-patch+json' }),
    delete: (name: string): Promise<unknown> =>
      client.call('DELETE', path(name), { body: { propagationPolicy: 'Background' } }),
    child: (kind: ChildKind, name: string) =>
      getOrUndefined<AnyObject>(client, childResources[kind], namespace, childName(kind, name)),
    async requireChild(kind: ChildKind, name: string): Promise<AnyObject> {
      const child = await eventually(
        () => self.child(kind, name),
        (found) => found !== undefined,
      );
      if (child === undefined) throw new Error(`there is no ${kind} ${name}`);
      return child;
    },
    replicaSets: () => list(pathOf(replicaSetResource, namespace)),
    pods: () => list(pathOf(podResource, namespace)),
    async revisions(name: string): Promise<(AnyObject & { revision: number; data: { template: unknown } })[]> {
      const all = await list(pathOf(revisionResource, namespace));
      return all.filter(({ metadata }) => metadata.labels?.['serving.slipway.dev/model-deployment'] === name) as never;
    },
    events: async (name: string) => {
      const all = (await list(`/apis/events.k8s.io/v1/namespaces/${namespace}/events`)) as unknown as EventObject[];
      return all.filter(({ regarding }) => regarding.name === name && regarding.kind === 'ModelDeployment');
    },
    /** Waits for a condition, and returns it. */
    async condition(name: string, type: string, holds: (condition: Condition) => boolean): Promise<Condition> {
      const read = async () => {
        const { status }: { status?: { conditions?: Condition[] } } = await self.get(name);
        return status?.conditions?.find((condition) => condition.type === type) ?? missing;
      };
      return eventually(read, holds);
    },
    /** Waits until the operator has answered the newest spec and made every child that it asks for. */
    async settled(name: string): Promise<void> {
      const model = await eventually(
        () => self.get(name),
        ({ metadata, status }) =>
          status?.observedGeneration === metadata.generation && status?.conditions?.length === 9,
      );
      for (const kind of childKinds) {
        if (isWanted(kind, model as unknown as ModelDeployment)) await self.requireChild(kind, name);
      }
    },
  };
  return self;
}

function isWanted(kind: ChildKind, model: ModelDeployment): boolean {
  switch (kind) {
    case 'ConfigMap':
    case 'Deployment':
    case 'Service':
      return true;
    case 'HorizontalPodAutoscaler':
      return renderAutoscaler(model) !== undefined;
    case 'CanaryService':
      return ownRoutes(model.spec).length > 0;
    case 'CanaryDeployment':
      return model.status?.rollout?.canary !== undefined;
    case 'CanaryAutoscaler':
      return model.status?.rollout?.canary !== undefined && renderAutoscaler(model) !== undefined;
    case 'PodDisruptionBudget':
      return renderDisruptionBudget(model) !== undefined;
  }
}

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
}

export interface EventObject {
  readonly type: string;
  readonly reason: string;
  readonly note: string;
  readonly regarding: { readonly name: string; readonly kind: string };
}

const missing: Condition = { type: '', status: '', reason: '', message: '', observedGeneration: 0 };

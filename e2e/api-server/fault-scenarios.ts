import { modelDeploymentResource } from '../../operator/src/controller/caches.ts';
import { routeResources } from '../../operator/src/controller/observe-routes.ts';
import { childResources } from '../../operator/src/desired/children.ts';
import type { KubeClient } from '../../operator/src/kube/client.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { revisionResource } from '../../operator/src/rollout/revision.ts';
import { eventually } from '../eventually.ts';
import { modelDeployments } from './model-deployments.ts';
import { backendsOf, grantRoutes, makeRoute, pathOfRoute, takeRoute } from './played-gateway.ts';
import { bindPods } from './played-nodes.ts';
import { brokenVersion } from './pod-life.ts';
import { type AnyObject, getOrUndefined, testClient } from './test-cluster.ts';

/** What users do to one ModelDeployment, `iris`, in a namespace of its own. */
export interface User {
  readonly namespace: string;
  readonly client: KubeClient;
  readonly models: ReturnType<typeof modelDeployments>;
  create(spec?: object): Promise<void>;
  change(spec: object): Promise<void>;
  /** What `kubectl rollout undo` sends, to the ReplicaSet of a version. */
  undoTo(version: string): Promise<void>;
  /** Asks something of the canary. */
  command(name: 'promote' | 'abort'): Promise<void>;
  /** Waits until the operator has answered the newest spec. */
  settled(): Promise<void>;
  /** Waits until the Deployment runs a version and is complete on it. */
  running(version: string): Promise<void>;
}

export interface FaultScenario {
  readonly name: string;
  /** Whether the operator is down while the user acts; otherwise it is there, and what it sees first is up to chance. */
  readonly whileDown?: true;
  /** What has happened and settled before faults begin. */
  prepare(user: User): Promise<void>;
  act(user: User): Promise<void>;
  /** Whether what was done has taken effect. */
  done(user: User): Promise<boolean>;
}

export const scenarios: readonly FaultScenario[] = [
  {
    name: 'create',
    prepare: async () => undefined,
    act: (user) => user.create({ replicas: 2 }),
    done: (user) => isComplete(user, '1'),
  },
  {
    name: 'new version',
    prepare: (user) => created(user),
    act: (user) => user.change({ model: { version: '2' } }),
    done: (user) => isComplete(user, '2'),
  },
  {
    name: 'undo',
    prepare: (user) => createdTwice(user),
    act: (user) => user.undoTo('1'),
    done: async (user) => (await isComplete(user, '1')) && (await rollbackOf(user)) !== undefined,
  },
  {
    name: 'undo and a new spec while the operator is down',
    whileDown: true,
    prepare: (user) => createdTwice(user),
    async act(user) {
      await user.undoTo('1');
      // What the controller of Deployments makes of it must not be up to chance.
      await isObserved(user);
      await user.change({ model: { version: '3' } });
    },
    done: (user) => isComplete(user, '3'),
  },
  {
    name: 'undo while the operator is down',
    whileDown: true,
    prepare: (user) => createdTwice(user),
    act: (user) => user.undoTo('1'),
    done: async (user) => (await isComplete(user, '1')) && (await rollbackOf(user)) !== undefined,
  },
  {
    name: 'an adopted undo, then a new spec',
    async prepare(user) {
      await createdTwice(user);
      await user.undoTo('1');
      await eventually(
        () => rollbackOf(user),
        (rollback) => rollback !== undefined,
      );
      await user.running('1');
    },
    act: (user) => user.change({ model: { version: '3' } }),
    done: (user) => isComplete(user, '3'),
  },
  {
    name: 'a version that fails',
    prepare: (user) => created(user, { rollout: { progressDeadlineSeconds: 1 } }),
    act: (user) => user.change({ model: { version: brokenVersion } }),
    done: async (user) => (await isComplete(user, '1')) && (await rollbackOf(user)) !== undefined,
  },
  {
    name: 'autoscaling on',
    prepare: (user) => created(user),
    act: (user) => user.change({ replicas: null, autoscaling }),
    done: async ({ models }) => (await models.child('HorizontalPodAutoscaler', 'iris')) !== undefined,
  },
  {
    name: 'autoscaling off',
    prepare: (user) => created(user, { replicas: undefined, autoscaling }),
    act: (user) => user.change({ replicas: 3, autoscaling: null }),
    done: async ({ models }) => (await models.child('Deployment', 'iris'))?.status?.readyReplicas === 3,
  },
  {
    name: 'delete and create again',
    prepare: (user) => created(user),
    async act(user) {
      await user.models.delete('iris');
      await eventually(
        async () => [...(await user.models.replicaSets()), ...(await user.models.revisions('iris'))],
        (left) => left.length === 0,
      );
      await user.create({ replicas: 2 });
    },
    done: (user) => isComplete(user, '1'),
  },
  {
    name: 'left behind and applied again',
    async prepare(user) {
      await created(user);
      await user.client.call('DELETE', pathOf(modelDeploymentResource, user.namespace, 'iris'), {
        body: { propagationPolicy: 'Orphan' },
      });
      await eventually(
        () => getOrUndefined(user.client, modelDeploymentResource, user.namespace, 'iris'),
        (model) => model === undefined,
      );
    },
    act: (user) => user.create({ replicas: 2 }),
    async done(user) {
      const { metadata } = await user.models.get('iris');
      const deployment = await user.models.child('Deployment', 'iris');
      return deployment?.metadata.ownerReferences?.[0]?.uid === metadata.uid;
    },
  },
  {
    name: 'asked before a rollout',
    prepare: (user) => created(user, { validation: { contract: 'Backward' } }),
    act: (user) => user.change({ model: { version: '2' } }),
    done: async (user) => (await preflightPods(user)) === 1,
  },
  {
    name: 'asked before a rollout, and given up',
    async prepare(user) {
      await created(user, { validation: { contract: 'Backward' } });
      await user.change({ model: { version: '2' } });
      await eventually(
        () => preflightPods(user),
        (count) => count === 1,
      );
    },
    act: (user) => user.change({ model: { version: '1' } }),
    done: async (user) => (await preflightPods(user)) === 0 && (await isComplete(user, '1')),
  },
  {
    name: 'fetched to nodes before a rollout',
    async prepare(user) {
      // Tokens are of an account, which a pod has by itself where the API server gives it one.
      const pod = { serviceAccountName: 'default' };
      await created(user, { replicas: 4, runtime: { cache: 'Node' }, rollout: { prefetch: 'Nodes' }, pod });
      await bindPods(user.client, user.namespace);
    },
    act: (user) => user.change({ model: { version: '2' } }),
    async done(user) {
      const { status } = await user.models.get('iris');
      return status?.prefetch?.finishTime !== undefined && (await isComplete(user, '2'));
    },
  },
  {
    name: 'a canary begins',
    prepare: (user) => createdTwice(user, canary),
    act: (user) => user.change({ model: { version: '3' } }),
    done: (user) => hasCanary(user, '3'),
  },
  {
    name: 'a canary with an autoscaler begins',
    prepare: (user) => createdTwice(user, { ...canary, replicas: undefined, autoscaling }),
    act: (user) => user.change({ model: { version: '3' } }),
    done: async (user) =>
      (await hasCanary(user, '3')) && (await user.models.child('CanaryAutoscaler', 'iris')) !== undefined,
  },
  {
    name: 'a canary is promoted',
    prepare: (user) => trying(user, '3'),
    act: (user) => user.command('promote'),
    done: async (user) => (await isComplete(user, '3')) && !(await hasCanary(user, '3')),
  },
  {
    name: 'a canary is aborted',
    prepare: (user) => trying(user, '3'),
    act: (user) => user.command('abort'),
    done: async (user) => (await rollbackOf(user)) !== undefined && !(await hasCanary(user, '3')),
  },
  {
    name: 'a canary is given up for another version',
    prepare: (user) => trying(user, '3'),
    act: (user) => user.change({ model: { version: '4' } }),
    done: (user) => hasCanary(user, '4'),
  },
  {
    name: 'a canary that the Service has as well begins',
    prepare: (user) => createdTwice(user, shared),
    act: (user) => user.change({ model: { version: '3' } }),
    done: async (user) => (await hasCanary(user, '3')) && (await trackOf(user)) === 'both',
  },
  {
    name: 'a canary that the Service has as well is aborted',
    prepare: (user) => trying(user, '3', shared),
    act: (user) => user.command('abort'),
    done: async (user) =>
      (await rollbackOf(user)) !== undefined && !(await hasCanary(user, '3')) && (await trackOf(user)) === 'stable',
  },
  {
    name: 'a canary that a Gateway gives its share begins',
    async prepare(user) {
      await hasRoute(user);
      await createdTwice(user, routed);
    },
    act: (user) => user.change({ model: { version: '3' } }),
    done: async (user) =>
      (await hasCanary(user, '3')) && (await isRouted(user, 30)) && (await stateOf(user)) === 'Holding',
  },
  {
    name: 'a canary that a Gateway gives its share is promoted',
    prepare: (user) => tryingRouted(user, '3'),
    act: (user) => user.command('promote'),
    done: async (user) => (await isRouted(user)) && (await isComplete(user, '3')) && !(await hasCanary(user, '3')),
  },
  {
    name: 'a canary that a Gateway gives its share is aborted',
    prepare: (user) => tryingRouted(user, '3'),
    act: (user) => user.command('abort'),
    done: async (user) =>
      (await isRouted(user)) && (await rollbackOf(user)) !== undefined && !(await hasCanary(user, '3')),
  },
  {
    name: 'undo while a canary is tried, and the operator is down',
    whileDown: true,
    prepare: (user) => trying(user, '3'),
    async act(user) {
      await user.undoTo('1');
      // An operator that is there puts back what serves, before or after the controller of Deployments has numbered it.
      await isObserved(user);
    },
    done: async (user) => (await rollbackOf(user)) !== undefined && (await isComplete(user, '2')),
  },
];

/** No pod here takes a share, so a canary goes no further than its first step, but for what people ask. */
const canary = { rollout: { strategy: 'Canary' }, validation: { contract: 'Ignore' } };

/** This one is given its share by the Service alone, which nobody has to take. */
const shared = {
  rollout: { strategy: 'Canary', canary: { routing: 'Replicas', steps: [{ weight: 20, hold: 'Manual' }] } },
  validation: { contract: 'Ignore' },
};

/** This one is given its share by a Gateway, which takes routes whenever they are asked about. */
const routed = {
  rollout: {
    strategy: 'Canary',
    canary: { routing: 'Gateway', gateway: { httpRoutes: ['iris'] }, steps: [{ weight: 30, hold: 'Manual' }] },
  },
  validation: { contract: 'Ignore' },
};

async function hasRoute({ client, namespace }: User): Promise<void> {
  await grantRoutes(client, namespace);
  await makeRoute(client, namespace, 'HTTPRoute', [{ backendRefs: [{ name: 'iris', port: 80 }] }]);
}

/** @param weight that a canary is given; undefined for a route that has no canary any more */
async function isRouted({ client, namespace }: User, weight?: number): Promise<boolean> {
  const path = pathOfRoute('HTTPRoute', namespace);
  await takeRoute(client, path);
  const alone = [['iris', 1]];
  const both = [
    ['iris', 100 - (weight ?? 0)],
    ['iris-canary', weight],
  ];
  return JSON.stringify(await backendsOf(client, path)) === JSON.stringify([weight === undefined ? alone : both]);
}

async function stateOf({ models }: User): Promise<string | undefined> {
  return (await models.get('iris')).status?.rollout?.canary?.state;
}

async function tryingRouted(user: User, version: string): Promise<void> {
  await hasRoute(user);
  await trying(user, version, routed);
  await eventually(
    async () => (await isRouted(user, 30)) && (await stateOf(user)) === 'Holding',
    (isHolding) => isHolding,
  );
}

async function trackOf({ models }: User): Promise<string> {
  const service = await models.requireChild('Service', 'iris');
  return service.spec.selector['serving.slipway.dev/track'] ?? 'both';
}

async function trying(user: User, version: string, spec: object = canary): Promise<void> {
  await createdTwice(user, spec);
  await user.change({ model: { version } });
  await eventually(
    () => hasCanary(user, version),
    (has) => has,
  );
}

/** Waits until the controller of Deployments has seen what is asked for. */
async function isObserved({ models }: User): Promise<void> {
  await eventually(
    () => models.requireChild('Deployment', 'iris'),
    ({ status, metadata }) => status?.observedGeneration === metadata.generation,
  );
}

async function hasCanary({ models }: User, version: string): Promise<boolean> {
  const deployment = await models.child('CanaryDeployment', 'iris');
  const isOf = deployment?.spec.template.metadata.labels['app.kubernetes.io/version'] === version;
  return isOf && deployment?.status?.availableReplicas === 1;
}

const autoscaling = { minReplicas: 2, maxReplicas: 4, triggers: [{ type: 'Memory', averageValue: '1Gi' }] };

async function created(user: User, spec: object = {}): Promise<void> {
  await user.create({ replicas: 2, ...spec });
  await user.running('1');
}

async function createdTwice(user: User, spec: object = {}): Promise<void> {
  await created(user);
  await user.change({ model: { version: '2' } });
  await user.running('2');
  if (Object.keys(spec).length === 0) return;
  // What is undefined takes a field away.
  await user.change(JSON.parse(JSON.stringify(spec, (_, value: unknown) => value ?? null)));
  await user.settled();
}

async function preflightPods({ models }: User): Promise<number> {
  const pods = await models.pods();
  return pods.filter(({ metadata }) => metadata.labels?.['serving.slipway.dev/track'] === 'preflight').length;
}

async function rollbackOf({ models }: User): Promise<object | undefined> {
  return (await models.get('iris')).status?.rollback;
}

async function isComplete({ models }: User, version: string): Promise<boolean> {
  const deployment = await models.child('Deployment', 'iris');
  const { status, metadata, spec } = deployment ?? {};
  return (
    deployment !== undefined &&
    spec.template.metadata.labels['app.kubernetes.io/version'] === version &&
    status?.observedGeneration === metadata?.generation &&
    [status.replicas, status.updatedReplicas, status.availableReplicas].every((count) => count === spec.replicas)
  );
}

export function userOf(namespace: string): User {
  const client = testClient();
  const kubectl = testClient('kubectl/v1.37.2');
  const models = modelDeployments(client, namespace);
  const user: User = {
    namespace,
    client,
    models,
    create: async (spec = {}) => void (await models.create('iris', spec)),
    change: async (spec) => void (await models.patch('iris', spec)),
    async undoTo(version) {
      const replicaSets = await models.replicaSets();
      const target = replicaSets.find(
        ({ spec }) => spec.template.metadata.labels['app.kubernetes.io/version'] === version,
      );
      const deployment = await models.requireChild('Deployment', 'iris');
      const { 'pod-template-hash': _, ...labels } = target?.spec.template.metadata.labels ?? {};
      const template = { ...target?.spec.template, metadata: { ...target?.spec.template.metadata, labels } };
      const kept = Object.entries(deployment.metadata.annotations ?? {}).filter(([key]) => isKeptByUndo(key));
      const brought = Object.entries(target?.metadata.annotations ?? {}).filter(([key]) => !isKeptByUndo(key));
      await kubectl.call('PATCH', pathOf(childResources.Deployment, namespace, 'iris'), {
        contentType: 'application/json-patch+json',
        body: [
          { op: 'replace', path: '/spec/template', value: template },
          { op: 'replace', path: '/metadata/annotations', value: Object.fromEntries([...kept, ...brought]) },
        ],
      });
    },
    settled: () => models.settled('iris'),
    async command(name) {
      const { status } = await models.get('iris');
      await kubectl.call('PATCH', pathOf(modelDeploymentResource, namespace, 'iris'), {
        contentType: 'application/merge-patch+json',
        body: { metadata: { annotations: { [`serving.slipway.dev/${name}`]: status?.updateRevision } } },
      });
    },
    async running(version) {
      await eventually(
        () => isComplete(user, version),
        (complete) => complete,
        { seconds: 40 },
      );
      // The record of its health is the last thing that is written.
      await eventually(
        async () => (await models.get('iris')).status,
        (status) => status?.history?.[0]?.modelVersion === version && status.history[0].healthySince !== undefined,
        { seconds: 40 },
      );
    },
  };
  return user;
}

/** The annotations of the Deployment that kubectl leaves as they are. */
function isKeptByUndo(key: string): boolean {
  return key === 'kubectl.kubernetes.io/last-applied-configuration' || key.startsWith('deployment.kubernetes.io/');
}

/** Everything of a ModelDeployment that must not depend on what went wrong on the way; without times and identities. */
export async function endState({ namespace, client, models }: User): Promise<object> {
  const list = async (path: string) => {
    const { items }: { items: AnyObject[] } = await client.call('GET', path);
    return items.map(plain).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  };
  const { status, metadata } = await models.get('iris');
  const state = {
    status,
    isSeen: status?.observedGeneration === metadata.generation,
    revisions: await list(pathOf(revisionResource, namespace)),
    // The keys are those of the namespace's own operator.
    links: (
      await list(`${pathOf(childResources.ConfigMap, namespace)}?labelSelector=app.kubernetes.io/managed-by`)
    ).map((link) => ({ ...link, data: Object.keys(link.data ?? {}) })),
    deployments: await list(pathOf(childResources.Deployment, namespace)),
    services: await list(pathOf(childResources.Service, namespace)),
    autoscalers: await list(pathOf(childResources.HorizontalPodAutoscaler, namespace)),
    routes: await list(pathOf(routeResources.HTTPRoute, namespace)),
    disruptionBudgets: await list(pathOf(childResources.PodDisruptionBudget, namespace)),
    replicaSets: await list(`/apis/apps/v1/namespaces/${namespace}/replicasets`),
  };
  const text = JSON.stringify(state)
    .replaceAll(namespace, 'NAMESPACE')
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, 'TIME')
    .replaceAll(/"clusterIPs?":(\[[^\]]*\]|"[^"]*")/g, '"clusterIP":"IP"');
  return JSON.parse(text);
}

function plain({ metadata, spec, ...rest }: AnyObject & { readonly revision?: number; readonly data?: unknown }) {
  const { name, labels, annotations, ownerReferences = [], managedFields = [] } = metadata;
  return {
    name,
    labels,
    annotations,
    owners: ownerReferences.map((reference) => `${reference.kind} ${reference.name}`),
    // Who owns what is a part of the state: what another has added could not be removed.
    managers: managedFields
      .map(({ manager, operation, subresource }) => `${manager} ${operation} ${subresource ?? ''}`)
      .toSorted(),
    spec,
    revision: rest.revision,
    data: rest.data,
  };
}

import type { ModelDeploymentSpec } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import { decide } from '../controller/decide.ts';
import type { Decision, Write } from '../controller/writes.ts';
import { ownerReference } from '../desired/metadata.ts';
import type { PrefetchManifest } from '../desired/prefetch-pod.ts';
import type { FieldSet } from '../kube/objects.ts';
import { childFields, type LiveChild, type LivePod, type LiveReplicaSet, type Observed } from '../observed.ts';
import { desiredReplicasAnnotation, maxReplicasAnnotation } from '../rollout/forgotten-scaling.ts';
import type { Revision } from '../rollout/revision.ts';
import type { RouteState } from '../rollout/routes.ts';
import { completeDeployment, modelDeployment, pod } from './test-objects.ts';

/** A cluster as pure state, for tests of what passes decide: writes are performed on it as the API server would. */
export const now = new Date('2026-01-01T00:00:00.000Z');
export const policy = { defaultImage: 'slipway:1', publicKeys: '{"keys":[]}' };
export const pass = (state: Observed) => decide(state, now, policy);
export const kinds = ({ writes }: Pick<Decision, 'writes'> = { writes: [] }) =>
  writes.map((write) => ('child' in write ? `${write.kind} ${write.child}` : write.kind));

function fieldsOf(value: unknown): FieldSet {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return {};
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [`f:${name}`, fieldsOf(inner)]));
}

function annotate(state: Observed, name: string, added: Readonly<Record<string, string>>): Observed {
  const revisions = state.revisions.map((revision) => {
    if (revision.metadata.name !== name) return revision;
    return {
      ...revision,
      metadata: { ...revision.metadata, annotations: { ...revision.metadata.annotations, ...added } },
    };
  });
  return { ...state, revisions };
}

/** Its Gateway has yet to take it. */
function patchedRoute(state: RouteState, { route: { kind, name }, changes }: Extract<Write, { kind: 'patch-route' }>) {
  const isIt = state.reference.kind === kind && state.reference.name === name;
  if (state.kind !== 'found' || !isIt) return state;
  const rules = (state.route.spec?.rules ?? []).map((rule, index) => {
    const change = changes.find((one) => one.rule === index);
    return change === undefined ? rule : { ...rule, backendRefs: change.backendRefs };
  });
  const { metadata } = state.route;
  const patched = { ...metadata, generation: (metadata.generation ?? 0) + 1 };
  return { ...state, isBehind: true, route: { ...state.route, metadata: patched, spec: { rules } } };
}

function prefetchPod({ metadata, spec }: PrefetchManifest): LivePod {
  const parts = { node: spec?.nodeName, phase: 'Pending' };
  return pod(metadata.name, metadata.annotations?.[annotations.revision] ?? '', {}, parts);
}

/** What the API server makes of a write. */
export function perform(state: Observed, write: Write): Observed {
  switch (write.kind) {
    case 'create-revision':
      return {
        ...state,
        revisions: [
          ...state.revisions,
          {
            ...write.manifest,
            metadata: { ...write.manifest.metadata, uid: 'r', resourceVersion: '1' },
          } as unknown as Revision,
        ],
      };
    case 'renumber-revision':
      return {
        ...state,
        revisions: state.revisions.map((revision) =>
          revision.metadata.name === write.name ? { ...revision, revision: write.number } : revision,
        ),
      };
    case 'mark-healthy':
      return annotate(state, write.name, { [annotations.healthySince]: write.since });
    case 'keep-signature':
      return annotate(state, write.name, { [annotations.signature]: write.signature });
    case 'keep-resolved-uri':
      return annotate(state, write.name, { [annotations.resolvedUri]: write.uri });
    case 'delete-revision':
      return { ...state, revisions: state.revisions.filter(({ metadata }) => metadata.name !== write.name) };
    case 'write-status':
      return { ...state, model: { ...state.model, status: write.status } };
    case 'take-over':
      return write.child === 'Deployment' && state.deployment !== undefined
        ? { ...state, deployment: { ...state.deployment, intruders: [] } }
        : state;
    case 'delete-replica-set':
      return { ...state, replicaSets: state.replicaSets.filter(({ metadata }) => metadata.name !== write.name) };
    case 'forget-scaling': {
      const noted = (all: readonly LiveReplicaSet[]) =>
        all.map((one) => (one.metadata.name === write.name ? forgotten(one) : one));
      return {
        ...state,
        replicaSets: noted(state.replicaSets),
        canaryReplicaSets: noted(state.canaryReplicaSets),
      };
    }
    case 'patch-route':
      return { ...state, routes: state.routes.map((one) => patchedRoute(one, write)) };
    case 'create-preflight': {
      const { name } = write.manifest.metadata;
      return { ...state, preflightPods: [...state.preflightPods, pod(name, name.replace(/-preflight$/, ''))] };
    }
    case 'create-prefetch':
      return { ...state, prefetchPods: [...state.prefetchPods, prefetchPod(write.manifest)] };
    case 'delete-prefetch':
      return { ...state, prefetchPods: state.prefetchPods.filter(({ metadata }) => metadata.name !== write.name) };
    case 'delete-preflight':
      return { ...state, preflightPods: state.preflightPods.filter(({ metadata }) => metadata.name !== write.name) };
    case 'adopt-revision': {
      const ownerReferences = [ownerReference(state.model)];
      return {
        ...state,
        revisions: state.revisions.map((revision) =>
          revision.metadata.name === write.name
            ? { ...revision, metadata: { ...revision.metadata, ownerReferences } }
            : revision,
        ),
      };
    }
    case 'apply':
    case 'delete': {
      const field = childFields[write.child];
      if (write.kind === 'delete') return { ...state, [field]: undefined };
      const before = state[field];
      const { metadata, ...rest } = write.manifest as unknown as LiveChild<object>;
      const { apiVersion: _, kind: __, ...fields } = rest as Record<string, unknown>;
      const replicas =
        field === 'deployment' || field === 'canaryDeployment'
          ? { replicas: (before?.spec as { replicas?: number } | undefined)?.replicas ?? 1 }
          : {};
      const child: LiveChild<object> = {
        ...rest,
        spec: { ...replicas, ...rest.spec },
        metadata: { ...metadata, uid: 'c', resourceVersion: '1', generation: (before?.metadata.generation ?? 0) + 1 },
        applied: fieldsOf({
          ...fields,
          metadata: { labels: metadata.labels, ...(metadata.annotations ? { annotations: metadata.annotations } : {}) },
        }),
        intruders: [],
        ...(before?.status === undefined ? {} : { status: before.status }),
      };
      return { ...state, [field]: child };
    }
  }
}

/** Passes until nothing is left to write; the Deployment is complete after each. */
export function settle(start: Observed): { readonly state: Observed; readonly passes: readonly Decision[] } {
  let state = start;
  const passes: Decision[] = [];
  for (let round = 0; round < 8; round++) {
    const decision = pass(state);
    if (decision.writes.length === 0) return { state, passes };
    passes.push(decision);
    state = decision.writes.reduce(perform, state);
    if (state.deployment !== undefined) state = { ...state, deployment: completeDeployment(state.deployment) };
  }
  throw new Error(`never settled: ${JSON.stringify(passes.map(kinds))}`);
}

export function change(state: Observed, spec: Partial<ModelDeploymentSpec>): Observed {
  const { metadata, status } = state.model;
  const model = modelDeployment(spec);
  return {
    ...state,
    model: {
      ...model,
      metadata: { ...metadata, generation: (metadata.generation ?? 0) + 1 },
      ...(status ? { status } : {}),
    },
  };
}

/** What `kubectl rollout undo` makes of the Deployment. */
export function undo(state: Observed, revision: string, manager = 'kubectl'): Observed {
  const { deployment, revisions } = state;
  const template = revisions.find(({ metadata }) => metadata.name === revision)?.data.template;
  if (deployment === undefined || template === undefined) throw new Error(`there is no ${revision}`);
  const generation = (deployment.metadata.generation ?? 0) + 1;
  const intruders = [{ manager, fields: ['spec.containers', `metadata.annotations.${annotations.revision}`] }];
  const metadata = { ...deployment.metadata, generation };
  return { ...state, deployment: { ...deployment, metadata, spec: { ...deployment.spec, template }, intruders } };
}

/** A Deployment whose rollout has missed its deadline; nothing of it is ready. */
export function overdue(state: Observed, lastUpdateTime: string): Observed {
  const { deployment } = state;
  if (deployment === undefined) throw new Error('there is no Deployment');
  const conditions = [{ type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded', lastUpdateTime }];
  const status = {
    observedGeneration: deployment.metadata.generation ?? 0,
    updatedReplicas: 1,
    replicas: 2,
    conditions,
  };
  return { ...state, deployment: { ...deployment, status } };
}

export function conditionsOf({ status }: Observed['model']): Record<string, string> {
  return Object.fromEntries(
    (status?.conditions ?? []).map(({ type, status, reason }) => [type, `${status} ${reason}`]),
  );
}

function forgotten(replicaSet: LiveReplicaSet): LiveReplicaSet {
  const {
    [desiredReplicasAnnotation]: _,
    [maxReplicasAnnotation]: __,
    ...annotations
  } = replicaSet.metadata.annotations ?? {};
  return { ...replicaSet, metadata: { ...replicaSet.metadata, annotations } };
}

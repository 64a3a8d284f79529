import type { KubeObject, ObjectMeta } from '../kube/objects.ts';
import { type IModelDeployment, ModelDeployment as ModelDeploymentModel } from './generated/model-deployment.ts';

export type ModelDeploymentSpec = IModelDeployment['spec'];
export type ModelDeploymentStatus = NonNullable<IModelDeployment['status']>;
export type Condition = NonNullable<ModelDeploymentStatus['conditions']>[number];
export type HistoryEntry = NonNullable<ModelDeploymentStatus['history']>[number];
/** Why the Deployment runs another revision than the spec asks for. Its presence holds that revision. */
export type Rollback = NonNullable<ModelDeploymentStatus['rollback']>;
/** How the revision stands that is tried beside the one that serves. */
export type CanaryRecord = NonNullable<NonNullable<ModelDeploymentStatus['rollout']>['canary']>;
export type Measurement = NonNullable<CanaryRecord['measurements']>[number];
type RolloutSpec = NonNullable<ModelDeploymentSpec['rollout']>;
export type CanaryStep = NonNullable<NonNullable<RolloutSpec['canary']>['steps']>[number];
export type Gate = NonNullable<NonNullable<RolloutSpec['analysis']>['gates']>[number];
export type Autoscaling = NonNullable<ModelDeploymentSpec['autoscaling']>;

/** A ModelDeployment as the API server stores it: in a namespace, and with the defaults of the policy fields. */
export interface ModelDeployment {
  readonly apiVersion: IModelDeployment['apiVersion'];
  readonly kind: IModelDeployment['kind'];
  readonly metadata: ObjectMeta & { readonly namespace: string };
  readonly spec: ModelDeploymentSpec;
  readonly status?: ModelDeploymentStatus;
}

/**
 * Reads an object of the API server; kind and version may be missing, as in lists.
 *
 * @throws Error that names the field, for an object stored under an older schema that this operator cannot serve
 */
export function parseModelDeployment(object: KubeObject): ModelDeployment {
  const { namespace } = object.metadata;
  if (namespace === undefined) throw new Error(`${object.metadata.name} has no namespace`);
  const { managedFields: _, ...metadata } = object.metadata;
  const candidate: unknown = {
    ...object,
    apiVersion: 'serving.slipway.dev/v1alpha1',
    kind: 'ModelDeployment',
    metadata,
  };
  if (!ModelDeploymentModel.is(candidate)) throw new Error(`${namespace}/${metadata.name} is no ModelDeployment`);
  new ModelDeploymentModel(candidate).validate();
  const { apiVersion, kind, spec, status } = candidate;
  return { apiVersion, kind, metadata: { ...metadata, namespace }, spec, ...(status ? { status } : {}) };
}

/** The name that the model has in URLs. */
export function modelNameOf({ metadata, spec }: ModelDeployment): string {
  return spec.model.name ?? metadata.name;
}

/** The policy of rollouts with its defaults, which the CRD has as well (a test compares them). */
export function rolloutPolicyOf({ rollout = {} }: ModelDeploymentSpec) {
  return { ...rolloutDefaults, ...rollout };
}

export const rolloutDefaults = {
  strategy: 'RollingUpdate',
  maxSurge: '25%',
  maxUnavailable: 0,
  progressDeadlineSeconds: 600,
  revisionHistoryLimit: 10,
  onFailure: 'Rollback',
  externalUndo: 'Adopt',
} as const;

/** The policy of canaries with its defaults. */
export function canaryPolicyOf({ rollout = {} }: ModelDeploymentSpec) {
  const { canary = {}, analysis = {} } = rollout;
  return { steps: canary.steps ?? canaryDefaults.steps, analysis: { ...canaryDefaults.analysis, ...analysis } };
}

export const canaryDefaults: {
  readonly steps: readonly CanaryStep[];
  readonly analysis: Required<NonNullable<RolloutSpec['analysis']>>;
} = {
  steps: [5, 25, 50].map((weight) => ({ weight, holdSeconds: 60 })),
  analysis: {
    intervalSeconds: 15,
    minRequests: 100,
    confidence: '99%',
    onInconclusive: 'Wait',
    gates: [{ metric: 'ErrorRate', max: '1%' }],
  },
};

/** Whether old requests are to be answered by a new model, as far as that is checked before it is rolled out. */
export function contractOf({ validation, rollout }: ModelDeploymentSpec): 'Backward' | 'Ignore' {
  return validation?.contract ?? (rollout?.strategy === 'Canary' ? 'Backward' : 'Ignore');
}

export const minReplicasDefault = 1;

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
/** A route of a Gateway, in the namespace of the ModelDeployment. */
export type RouteReference = NonNullable<NonNullable<ModelDeploymentStatus['rollout']>['routes']>[number];
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
  prefetch: 'None',
} as const;

/** How a new revision is tried beside the one that serves. */
export interface CanaryPolicy {
  readonly steps: readonly PolicyStep[];
  /** Whether it has as many pods as the one that serves, whatever its weight is. */
  readonly isWhole: boolean;
  readonly routing: Routing;
  readonly mirrorPercent: number;
  /** In lower case. */
  readonly stickyBy: string | undefined;
  readonly analysis: Required<NonNullable<RolloutSpec['analysis']>>;
}

/** How requests reach a revision that is tried. */
export type Routing =
  /** The pods of the one that serves pass them on. */
  | { readonly kind: 'Pods' }
  /** The Service selects the pods of both. */
  | { readonly kind: 'Replicas' }
  /** By the weights of routes. */
  | { readonly kind: 'Gateway'; readonly routes: readonly RouteReference[] };

/** A step; with weight 0 the new revision only stands by. */
export type PolicyStep = Pick<CanaryStep, 'weight' | 'holdSeconds' | 'hold'>;

/** Whether a new revision is tried beside the one that serves at all. */
export function isTriedBeside(spec: ModelDeploymentSpec): boolean {
  return rolloutPolicyOf(spec).strategy !== 'RollingUpdate';
}

/**
 * The policy of canaries with its defaults. Blue-green is a canary of two steps, with all of its pods from the beginning: it stands
 * by, and then it has all requests. (Requests are passed on by the pods of the old revision, so a switch reaches kept connections as
 * well, in both directions, and what the new one cannot answer the old one does.)
 */
export function canaryPolicyOf(spec: ModelDeploymentSpec): CanaryPolicy {
  const { canary = {}, blueGreen = {}, analysis = {} } = spec.rollout ?? {};
  const common = { analysis: { ...canaryDefaults.analysis, ...analysis } };
  if (rolloutPolicyOf(spec).strategy === 'BlueGreen') {
    const { mirrorPercent = 0, hold, holdSeconds = 60, soakSeconds = 300 } = blueGreen;
    const standBy = hold === undefined ? { weight: 0, holdSeconds } : { weight: 0, hold };
    const steps = [standBy, { weight: 100, holdSeconds: soakSeconds }];
    return { ...common, steps, isWhole: true, routing: routingOf(blueGreen), mirrorPercent, stickyBy: undefined };
  }
  const { steps = canaryDefaults.steps, mirrorPercent = 0, stickyBy } = canary;
  const routing = routingOf(canary);
  return { ...common, steps, isWhole: false, routing, mirrorPercent, stickyBy: stickyBy?.header.toLowerCase() };
}

function routingOf({
  routing = 'Pods',
  gateway = {},
}: Pick<NonNullable<RolloutSpec['canary']>, 'routing' | 'gateway'>): Routing {
  if (routing !== 'Gateway') return { kind: routing };
  const { httpRoutes = [], grpcRoutes = [] } = gateway;
  return {
    kind: routing,
    routes: [
      ...httpRoutes.map((name) => ({ kind: 'HTTPRoute' as const, name })),
      ...grpcRoutes.map((name) => ({ kind: 'GRPCRoute' as const, name })),
    ],
  };
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
  const isTried = rollout?.strategy !== undefined && rollout.strategy !== 'RollingUpdate';
  return validation?.contract ?? (isTried ? 'Backward' : 'Ignore');
}

export const minReplicasDefault = 1;

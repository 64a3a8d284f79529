import type { IDeploymentSpec, IDeploymentStatus } from 'kubernetes-models/apps/v1';
import type { IHorizontalPodAutoscalerSpec, IHorizontalPodAutoscalerStatus } from 'kubernetes-models/autoscaling/v2';
import type { IPodDisruptionBudgetSpec } from 'kubernetes-models/policy/v1';
import type { IContainerStatus, IPodCondition, IServiceSpec } from 'kubernetes-models/v1';
import type { ModelReport } from '../../contract/src/model-report.ts';
import type { ModelDeployment } from './api/model-deployment.ts';
import type { ChildKind } from './desired/children.ts';
import type { FieldSet, KubeObject } from './kube/objects.ts';
import type { Revision } from './rollout/revision.ts';

/** A child as it is cached: without managedFields, but with what of them matters. */
export interface LiveChild<Spec, Status = unknown> extends KubeObject {
  readonly spec: Spec;
  readonly status?: Status;
  /** The fields that the operator applied. */
  readonly applied: FieldSet | undefined;
  /** Who else owns something in the part that nobody else may change: a Deployment's template, a Service's ports. */
  readonly intruders: readonly Intruder[];
}

export interface Intruder {
  readonly manager: string;
  /** Dotted paths below that part. */
  readonly fields: readonly string[];
}

export type LiveDeployment = LiveChild<IDeploymentSpec, IDeploymentStatus>;
export type LiveService = LiveChild<IServiceSpec>;
export type LiveAutoscaler = LiveChild<IHorizontalPodAutoscalerSpec, IHorizontalPodAutoscalerStatus>;
export type LiveDisruptionBudget = LiveChild<IPodDisruptionBudgetSpec>;

/** A ReplicaSet, as far as it matters: a Deployment keeps many, and templates are large. */
export interface LiveReplicaSet extends KubeObject {
  /** The revision that its template claims to be. */
  readonly revision: string | undefined;
  /** Of its template, as `templateFingerprint` makes it. */
  readonly fingerprint: string;
  /** Whether it has no pods, and is to have none. */
  readonly isEmpty: boolean;
}

/** A pod, as far as its state matters. */
export interface LivePod extends KubeObject {
  readonly ip: string | undefined;
  readonly phase: string | undefined;
  readonly conditions: readonly IPodCondition[];
  readonly containers: readonly IContainerStatus[];
}

/** An object that has the name of a child and belongs to somebody else. */
export interface NameConflict {
  readonly kind: ChildKind;
  readonly name: string;
  /** Whose it is, in words. */
  readonly owner: string;
}

/** Everything that a pass decides on. */
export interface Observed {
  readonly model: ModelDeployment;
  readonly revisions: readonly Revision[];
  readonly deployment: LiveDeployment | undefined;
  readonly service: LiveService | undefined;
  readonly autoscaler: LiveAutoscaler | undefined;
  readonly disruptionBudget: LiveDisruptionBudget | undefined;
  readonly replicaSets: readonly LiveReplicaSet[];
  readonly pods: readonly LivePod[];
  /** What ready pods say of their model, by the name of the pod. */
  readonly reports: ReadonlyMap<string, ModelReport>;
  /** Why volumes of pods cannot be mounted, by the name of the pod. */
  readonly mountFailures: ReadonlyMap<string, string>;
  readonly conflicts: readonly NameConflict[];
  /** Children whose last apply changed nothing and that are as they were, with the desired state (canonical) it was made for. */
  readonly resisting: ReadonlyMap<ChildKind, string>;
  /** Why the API server refuses to take children as the spec makes them. */
  readonly refusals: ReadonlyMap<ChildKind, string>;
}

import type { IDeploymentSpec, IDeploymentStatus } from 'kubernetes-models/apps/v1';
import type { IHorizontalPodAutoscalerSpec, IHorizontalPodAutoscalerStatus } from 'kubernetes-models/autoscaling/v2';
import type { IPodDisruptionBudgetSpec } from 'kubernetes-models/policy/v1';
import type { IContainerStatus, IPodCondition, IServiceSpec } from 'kubernetes-models/v1';
import type { PodFigures, Table } from '../../contract/src/link.ts';
import type { LoadingProgress } from '../../contract/src/loading-progress.ts';
import type { ModelReport } from '../../contract/src/model-report.ts';
import type { PodSeries } from './analysis/pod-series.ts';
import type { QueryAnswer } from './analysis/query-gate.ts';
import type { ModelDeployment } from './api/model-deployment.ts';
import type { ChildKind } from './desired/children.ts';
import type { FieldSet, KubeObject } from './kube/objects.ts';
import type { Revision } from './rollout/revision.ts';
import type { RouteState } from './rollout/routes.ts';

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
/** The ConfigMap NAME-link. */
export type LiveLink = LiveChild<undefined>;
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
  /** How many it is to have. */
  readonly replicas: number;
}

/** A pod, as far as its state matters. */
export interface LivePod extends KubeObject {
  readonly ip: string | undefined;
  /** Where it runs. */
  readonly node: string | undefined;
  /** The image that its model is in, as a volume. */
  readonly volumeImage: string | undefined;
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
  readonly link: LiveLink | undefined;
  readonly service: LiveService | undefined;
  readonly autoscaler: LiveAutoscaler | undefined;
  readonly disruptionBudget: LiveDisruptionBudget | undefined;
  /** Of a revision that is tried beside the one that serves. */
  readonly canaryDeployment: LiveDeployment | undefined;
  readonly canaryAutoscaler: LiveAutoscaler | undefined;
  readonly canaryService: LiveService | undefined;
  readonly replicaSets: readonly LiveReplicaSet[];
  readonly canaryReplicaSets: readonly LiveReplicaSet[];
  readonly pods: readonly LivePod[];
  readonly canaryPods: readonly LivePod[];
  /** What pods have counted, for as long as a canary is tried and some time before. */
  readonly series: readonly PodSeries[];
  /** Since when this process counts, in milliseconds since 1970; undefined where it does not. */
  readonly countedSince: number | undefined;
  /** What queries of Prometheus have given in the step of a canary, by the names of their gates. */
  readonly queries: ReadonlyMap<string, QueryAnswer>;
  /** The routes of a Gateway by which a canary has its share. */
  readonly routes: readonly RouteState[];
  /** Pods that are asked of a revision before it is rolled out. */
  readonly preflightPods: readonly LivePod[];
  /** Pods that fetch the model of a revision to nodes before it is rolled out. */
  readonly prefetchPods: readonly LivePod[];
  /** What is known of ready pods by the pod link, by the name of the pod. */
  readonly links: ReadonlyMap<string, LinkState>;
  /** What ready pods say of their model, by the name of the pod. */
  readonly reports: ReadonlyMap<string, ModelReport>;
  /** How far pods are that have been loading their model for a while, by the name of the pod. */
  readonly loading: ReadonlyMap<string, LoadingProgress>;
  /** Why volumes of pods cannot be mounted, by the name of the pod. */
  readonly mountFailures: ReadonlyMap<string, string>;
  /** Names of children that are taken, the link's and a canary's apart: nothing can be done until they are free. */
  readonly conflicts: readonly NameConflict[];
  /** The ConfigMap of the link is somebody else's: pods can do without it. */
  readonly linkConflict: NameConflict | undefined;
  /** What a canary has of its own is somebody else's: no canary can be tried. */
  readonly canaryConflict: NameConflict | undefined;
  /** Autoscalers that are not ours and scale the Deployment. */
  readonly foreignAutoscalers: readonly ForeignAutoscaler[];
  /** The last applies to children that were there already. */
  readonly attempts: ReadonlyMap<ChildKind, Attempt>;
  /** The last patches of routes, by their names. */
  readonly routeRepairs: ReadonlyMap<string, Repairs>;
  /** Why the API server refuses writes, by what they are called (`nameOf` in controller/writes.ts). */
  readonly refusals: ReadonlyMap<string, Refusal>;
}

/** The child of a kind. */
export function liveChildOf(observed: Observed, child: ChildKind): LiveChild<unknown> | undefined {
  return observed[childFields[child]];
}

/** What is known of a pod by the link. */
export type LinkState =
  /** It was not called yet. */
  | { readonly kind: 'pending' }
  | { readonly kind: 'linked'; readonly figures: PodFigures }
  | { readonly kind: 'unlinked'; readonly why: WhyUnlinked };

/** What the pods of a ModelDeployment are told over the link, and what is kept of what they tell. */
export interface LinkOrder {
  readonly table: Table;
  /** The length of the intervals that their counts are kept by; undefined where none are. */
  readonly intervalSeconds: number | undefined;
  /** Whether latencies are among them. */
  readonly hasLatency: boolean;
  /** Whether they are called more often. */
  readonly isUrgent: boolean;
}

export type WhyUnlinked =
  /** It knows no link: an older image of ours, or none of ours. */
  | 'NoLink'
  /** It does not know the operator's key yet, or cannot: nothing is mounted. */
  | 'KeyUnknown'
  /** It does not take the operator's tables, for another reason. */
  | 'Refuses'
  | 'Unreachable';

/** Where each child is in what was observed. */
export const childFields = {
  ConfigMap: 'link',
  Service: 'service',
  CanaryService: 'canaryService',
  Deployment: 'deployment',
  CanaryDeployment: 'canaryDeployment',
  HorizontalPodAutoscaler: 'autoscaler',
  CanaryAutoscaler: 'canaryAutoscaler',
  PodDisruptionBudget: 'disruptionBudget',
} as const satisfies Record<ChildKind, keyof Observed>;

/** An autoscaler that somebody else has made, KEDA say. */
export interface ForeignAutoscaler {
  readonly name: string;
  /** Whose it is, in words. */
  readonly owner: string;
}

/** An apply to a child that was there already. */
export interface Attempt extends Repairs {
  /** Fingerprint of the answer. */
  readonly live: string;
  /** Whether the apply changed nothing or its answer still differed, and the object is as it was then. */
  readonly resisted: boolean;
}

/** How often something was made the same in a row. */
export interface Repairs {
  /** Tells it from anything else. */
  readonly desired: string;
  readonly repairs: number;
  /** When it was last, in milliseconds since 1970. */
  readonly at: number;
}

/** A write that the API server did not take. */
export interface Refusal {
  readonly message: string;
  readonly failures: number;
  /** Not before then is it tried again, in milliseconds since 1970. */
  readonly retryAt: number;
}

import type { IDeployment } from 'kubernetes-models/apps/v1';
import type { IHorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2';
import type { IPodDisruptionBudget } from 'kubernetes-models/policy/v1';
import type { IConfigMap, IPodTemplateSpec, IService } from 'kubernetes-models/v1';
import type { OwnerReference, Resource } from '../kube/objects.ts';
import { canaryName, linkName } from './metadata.ts';

/** An object that is applied for a ModelDeployment. */
export type Child<T> = T & {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences: OwnerReference[];
  };
};

export type DeploymentManifest = Child<IDeployment>;
export type ServiceManifest = Child<IService>;
export type AutoscalerManifest = Child<IHorizontalPodAutoscaler>;
export type DisruptionBudgetManifest = Child<IPodDisruptionBudget>;
export type LinkManifest = Child<IConfigMap>;
export type PodTemplate = IPodTemplateSpec;

const deployments = { group: 'apps', version: 'v1', kind: 'Deployment', plural: 'deployments' } as const;
const services = { group: '', version: 'v1', kind: 'Service', plural: 'services' } as const;
const autoscalers = {
  group: 'autoscaling',
  version: 'v2',
  kind: 'HorizontalPodAutoscaler',
  plural: 'horizontalpodautoscalers',
} as const;

/**
 * The kinds of objects that a ModelDeployment has by its own name (`childName`), in the order in which they are written:
 * the link before the pods that mount it, and the Service before them as well, because where its name is taken, no pod is
 * to be started in vain.
 */
export const childResources = {
  ConfigMap: { group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps' },
  Service: services,
  CanaryService: services,
  Deployment: deployments,
  CanaryDeployment: deployments,
  HorizontalPodAutoscaler: autoscalers,
  CanaryAutoscaler: autoscalers,
  PodDisruptionBudget: { group: 'policy', version: 'v1', kind: 'PodDisruptionBudget', plural: 'poddisruptionbudgets' },
} as const satisfies Record<string, Resource>;

export type ChildKind = keyof typeof childResources;

export const childKinds: readonly ChildKind[] = Object.keys(childResources).filter(isChildKind);

/** What only a canary has. */
export type CanaryChildKind = 'CanaryService' | 'CanaryDeployment' | 'CanaryAutoscaler';
export type ServingChildKind = Exclude<ChildKind, CanaryChildKind>;

export function isOfCanary(kind: ChildKind): kind is CanaryChildKind {
  return kind === 'CanaryService' || kind === 'CanaryDeployment' || kind === 'CanaryAutoscaler';
}

/** What a ModelDeployment has whether or not a canary is tried. */
export const servingChildKinds: readonly ServingChildKind[] = childKinds.filter(
  (kind): kind is ServingChildKind => !isOfCanary(kind),
);

export function isChildKind(kind: string): kind is ChildKind {
  return Object.hasOwn(childResources, kind);
}

/** The name of a child: that of the ModelDeployment, but for the link and what a canary has of its own. */
export function childName(kind: ChildKind, model: string): string {
  switch (kind) {
    case 'ConfigMap':
      return linkName(model);
    case 'CanaryService':
    case 'CanaryDeployment':
    case 'CanaryAutoscaler':
      return canaryName(model);
    default:
      return model;
  }
}

/** A child in words, as a user knows its kind. */
export function childInWords(kind: ChildKind): string {
  return isOfCanary(kind) ? `${childResources[kind].kind} of the canary` : childResources[kind].kind;
}

import type { ModelDeploymentStatus, RouteReference } from '../api/model-deployment.ts';
import type { ChildKind } from '../desired/children.ts';
import type { PrefetchManifest } from '../desired/prefetch-pod.ts';
import type { PreflightManifest } from '../desired/preflight-pod.ts';
import type { Manifest } from '../kube/apply.ts';
import type { EventRecord } from '../kube/events.ts';
import type { OwnerReference } from '../kube/objects.ts';
import type { CanaryFigures } from '../metrics.ts';
import type { LinkOrder, LiveChild, LiveDeployment } from '../observed.ts';
import { prefetchWriteName } from '../rollout/prefetch.ts';
import type { Revision } from '../rollout/revision.ts';
import { type RuleChange, routeInWords } from '../rollout/routes.ts';

/** The record of a revision as it is made. */
export interface RevisionManifest extends Manifest, Pick<Revision, 'revision' | 'data'> {
  readonly metadata: Manifest['metadata'] & { readonly ownerReferences: readonly OwnerReference[] };
}

/** One write to the API server. They are made in order; a pass may end after any of them, and the next one finishes. */
export type Write =
  | { readonly kind: 'create-revision'; readonly manifest: RevisionManifest }
  | { readonly kind: 'renumber-revision'; readonly name: string; readonly number: number }
  | { readonly kind: 'mark-healthy'; readonly name: string; readonly since: string }
  /** Makes a record that has lost its owner ours again. */
  | { readonly kind: 'adopt-revision'; readonly name: string; readonly resourceVersion: string }
  | { readonly kind: 'delete-revision'; readonly name: string }
  | { readonly kind: 'write-status'; readonly status: ModelDeploymentStatus }
  /** Moves what others own in the guarded part of a child to the operator, so that an apply can remove it. */
  | { readonly kind: 'take-over'; readonly child: ChildKind; readonly live: LiveChild<unknown> }
  /** `live` is the object that is ours already, which forces the apply; undefined for one that is yet to be made. */
  | {
      readonly kind: 'apply';
      readonly child: ChildKind;
      readonly manifest: Manifest;
      readonly live: LiveChild<unknown> | undefined;
    }
  | { readonly kind: 'delete'; readonly child: ChildKind; readonly name: string; readonly uid: string }
  /** Gives backends of a route other weights, as long as it is what they were decided on. */
  | {
      readonly kind: 'patch-route';
      readonly route: RouteReference;
      /** The canary's share; undefined for a route that is let go of. */
      readonly weight: number | undefined;
      readonly resourceVersion: string;
      readonly changes: readonly RuleChange[];
      /** Whether another patch follows by design: only the last is one of a quarrel, if there is any. */
      readonly isHalf: boolean;
    }
  /** The pod that is asked before a rollout. */
  | { readonly kind: 'create-preflight'; readonly manifest: PreflightManifest }
  | { readonly kind: 'delete-preflight'; readonly name: string; readonly uid: string }
  /** A pod that fetches the model to a node before a rollout. */
  | { readonly kind: 'create-prefetch'; readonly manifest: PrefetchManifest }
  | { readonly kind: 'delete-prefetch'; readonly name: string; readonly uid: string }
  /** Keeps what a pod has told of the model of a revision. */
  | { readonly kind: 'keep-signature'; readonly name: string; readonly signature: string }
  /** Keeps what the URI of a revision has led to. */
  | { readonly kind: 'keep-resolved-uri'; readonly name: string; readonly uri: string }
  | { readonly kind: 'delete-replica-set'; readonly name: string; readonly uid: string }
  /** Takes the notes of a scaling from a ReplicaSet, as long as it is what that was decided on. */
  | { readonly kind: 'forget-scaling'; readonly name: string; readonly resourceVersion: string };

/** What a pass does. */
export interface Decision {
  readonly writes: readonly Write[];
  /** What the Deployment was seen to be: no write is made where somebody has changed it since. Undefined where that does not matter. */
  readonly evidence: { readonly deployment: LiveDeployment | undefined } | undefined;
  readonly events: readonly EventRecord[];
  readonly link: LinkOrder;
  /** For metrics. */
  readonly canary: CanaryFigures | undefined;
  readonly requeueAfterMilliseconds?: number;
}

/** What a write is called: in logs, and where its refusals are remembered. */
export function nameOf(write: Write): string {
  if (write.kind === 'patch-route') return `${write.kind} ${routeInWords(write.route)}`;
  if (write.kind === 'forget-scaling') return `${write.kind} ${write.name}`;
  if (write.kind === 'create-prefetch') return prefetchWriteName(write.manifest.metadata.name);
  return 'child' in write ? `${write.kind} ${write.child}` : write.kind;
}

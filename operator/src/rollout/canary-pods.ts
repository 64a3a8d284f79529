import { type CanaryRecord, canaryPolicyOf, type PolicyStep } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import type { LivePod, Observed } from '../observed.ts';
import type { Canary } from './canary.ts';
import { isComplete } from './progress.ts';
import { type Revision, templateRevision } from './revision.ts';
import { isSame, problemOfRoute, routeInWords } from './routes.ts';
import { shareTakenBy } from './traffic-share.ts';

/** What keeps the share of a canary from rising. */
export interface Missing {
  /** In words. */
  readonly what: string;
  /** Whether it is the canary that does not come up: only then is it held against it. */
  readonly isOfCanary: boolean;
}

const ofOthers = (what: string): Missing => ({ what, isOfCanary: false });

/** The step of a record; the last one when there are fewer by now. */
export function stepOf({ model }: Pick<Observed, 'model'>, { step }: CanaryRecord): PolicyStep {
  const { steps } = canaryPolicyOf(model.spec);
  const [last] = steps.slice(-1);
  const found = steps[step - 1] ?? last;
  if (found === undefined) throw new Error('a canary has no step');
  return found;
}

/** The pods that a canary needs for the step that it is in, and for the share that it has until that is another. */
export function canaryReplicas(observed: Pick<Observed, 'model' | 'deployment'>, record: CanaryRecord): number {
  const stableReplicas = observed.deployment?.spec.replicas ?? 1;
  const { isWhole, routing } = canaryPolicyOf(observed.model.spec);
  const share = isWhole ? 100 : Math.max(record.weight, stepOf(observed, record).weight);
  // Where the Service has the pods of both, the share is of all of them; at 100 % it has the canary's alone.
  const isOfAll = routing.kind === 'Replicas' && share < 100;
  // More than half of all is refused by the API, and is left of another routing at most.
  const rest = isOfAll ? 100 - Math.min(share, 50) : 100;
  return Math.max(1, Math.ceil(((isOfAll ? 100 - rest : share) * stableReplicas) / rest));
}

/** What has to be there before the share of a canary rises. */
export function whatIsMissing(observed: Observed, canary: Canary): Missing | undefined {
  const { deployment, canaryConflict } = observed;
  if (canaryConflict !== undefined) {
    const { name, owner } = canaryConflict;
    return ofOthers(`${name} is there already and belongs to ${owner}: remove it, or abort the canary`);
  }
  const isStable =
    deployment !== undefined &&
    templateRevision(deployment.spec.template) === canary.stable.metadata.name &&
    isComplete(deployment);
  if (!isStable) return ofOthers('not all pods of the revision that serves are available');
  return missingPods(observed, canary);
}

/** What of the canary's own pods is missing. Those of one that was tried before it may not have gone yet. */
export function missingPods(observed: Observed, { record, target }: Canary): Missing | undefined {
  const needed = canaryReplicas(observed, record);
  const available = observed.canaryPods.filter((pod) => isServing(pod) && isOf(pod, target)).length;
  if (available >= needed) return undefined;
  return { what: `${available} of ${needed} pods of the canary are available`, isOfCanary: true };
}

/** Since when a canary that was available is not any more, in milliseconds since 1970; undefined while it is. */
export function unavailableSince({ canaryDeployment }: Observed): number | undefined {
  const available = canaryDeployment?.status?.conditions?.find(({ type }) => type === 'Available');
  const since = Date.parse(available?.lastTransitionTime ?? '');
  return available?.status === 'False' && !Number.isNaN(since) ? since : undefined;
}

/** What has not taken the share yet. Which pods they are changes with every pod that comes and goes, so they are counted. */
export function notTaken(observed: Observed, canary: Canary): Missing | undefined {
  const { model, routes } = observed;
  const { routing } = canaryPolicyOf(model.spec);
  switch (routing.kind) {
    case 'Pods':
      return notTakenByPods(observed, canary);
    case 'Replicas':
      return undefined;
    case 'Gateway': {
      const problem = routing.routes
        .map((reference) => {
          const state = routes.find((one) => isSame(one.reference, reference));
          // It is read from the next pass on.
          return state === undefined
            ? `${routeInWords(reference)} was not read yet`
            : problemOfRoute(state, model.metadata.name, canary.record);
        })
        .find((one) => one !== undefined);
      return problem === undefined ? undefined : ofOthers(problem);
    }
  }
}

function notTakenByPods({ pods, links }: Observed, { record, target }: Canary): Missing | undefined {
  const states = pods.filter(isServing).map(({ metadata }) => links.get(metadata.name));
  if (states.length === 0) return ofOthers('no pod serves');
  const unable = states.filter((state) => state?.kind === 'linked' && state.figures.passedOn === undefined);
  const behind = states.filter((state) => shareTakenBy(state, target.metadata.name) !== record.weight);
  if (unable.length > 0)
    return ofOthers(
      `${unable.length} of ${states.length} pods that serve cannot pass requests on: their image is too old; roll out once with strategy RollingUpdate and a newer spec.runtime.image`,
    );
  if (behind.length === 0) return undefined;
  return ofOthers(
    `${behind.length} of ${states.length} pods that serve have not taken the share yet (see the condition Linked)`,
  );
}

/** Whether a pod is of a revision. */
export function isOf({ metadata }: LivePod, revision: Revision): boolean {
  return metadata.annotations?.[annotations.revision] === revision.metadata.name;
}

/** Whether a pod answers requests. */
export function isServing({ metadata, conditions }: LivePod): boolean {
  const isReady = conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
  return metadata.deletionTimestamp === undefined && isReady;
}

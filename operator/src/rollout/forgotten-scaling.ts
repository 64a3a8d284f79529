import type { LiveDeployment, LiveReplicaSet } from '../observed.ts';

/** Where the Deployment's controller notes in a ReplicaSet how many pods the Deployment was to have when it last scaled it. */
export const desiredReplicasAnnotation = 'deployment.kubernetes.io/desired-replicas';
/** And how many at most, by which it divides when it scales several. */
export const maxReplicasAnnotation = 'deployment.kubernetes.io/max-replicas';

/**
 * The ReplicaSet whose note is old, so that the Deployment's controller does nothing any more. It takes a note that is not the
 * Deployment's number for a scaling that is to be done before anything else, and leaves it as it is where one ReplicaSet alone has
 * pods and has as many as the Deployment (kubernetes/kubernetes pull requests 138036 and 138840, open at 1.36). A Deployment that is
 * scaled down while it is rolled out may come to that, and is then rolled out no further. Without a note nothing is taken for a
 * scaling, and that controller writes a new one when it next scales.
 *
 * @returns undefined while that controller has something to do, as long as it has not looked, and where nothing is rolled out
 */
export function forgottenScaling(
  deployment: LiveDeployment | undefined,
  replicaSets: readonly LiveReplicaSet[],
): LiveReplicaSet | undefined {
  if (deployment === undefined || (deployment.status?.observedGeneration ?? 0) < (deployment.metadata.generation ?? 0))
    return undefined;
  const wanted = deployment.spec.replicas ?? 1;
  if (deployment.spec.paused === true || (deployment.status?.updatedReplicas ?? 0) >= wanted) return undefined;
  const active = replicaSets.filter(({ replicas }) => replicas > 0);
  const [only] = active;
  if (only === undefined || active.length > 1 || only.replicas !== wanted) return undefined;
  const noted = only.metadata.annotations?.[desiredReplicasAnnotation];
  return noted === undefined || Number(noted) === wanted ? undefined : only;
}

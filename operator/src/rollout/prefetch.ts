import { type ModelDeploymentStatus, rolloutPolicyOf } from '../api/model-deployment.ts';
import { withinCharacters } from '../api/text.ts';
import { timestamp } from '../api/time.ts';
import { prefetchName } from '../desired/prefetch-pod.ts';
import type { LivePod, Observed, Refusal } from '../observed.ts';
import type { Gate } from './preflight.ts';
import type { Revision } from './revision.ts';

export type Prefetch = NonNullable<ModelDeploymentStatus['prefetch']>;

/** So many nodes fetch at the same time: they ask one store. */
const mostAtOnce = 8;

/**
 * Lets a revision that may be rolled out wait until its model is in the caches of the nodes that run the one before, if that is asked
 * for. It only ever waits: a node that does not get it keeps nobody from anything, and after the deadline of a rollout
 * none is waited for. That it is over is kept in the status, so it happens once for a revision.
 */
export function afterPrefetch(
  observed: Observed,
  asked: Revision,
  gate: Gate,
  problem: string | undefined,
  now: Date,
): Gate {
  if (gate.kind !== 'open') return gate;
  const { spec, status = {} } = observed.model;
  const revision = asked.metadata.name;
  const known = status.prefetch?.revision === revision ? status.prefetch : undefined;
  const running = observed.revisions.find(({ metadata }) => metadata.name === status.updateRevision);
  const policy = rolloutPolicyOf(spec);
  const isOver = known?.finishTime !== undefined || running === undefined || running.metadata.name === revision;
  // What serves already is there: nobody waits to go back to it.
  if (isOver || status.currentRevision === revision || policy.prefetch !== 'Nodes') return { ...gate, prefetch: known };
  const nodes = nodesOf(observed).map((node) => {
    const pod = prefetchPodOf(observed, revision, node);
    const refusal = pod === undefined ? lastingRefusal(observed, revision, node) : undefined;
    return { node, pod, refusal, isEnded: pod === undefined ? refusal !== undefined : hasEnded(pod) };
  });
  const ended = nodes.filter(({ isEnded }) => isEnded);
  const startTime = known?.startTime ?? timestamp(now);
  const isLate = now.getTime() > Date.parse(startTime) + policy.progressDeadlineSeconds * 1000;
  if (isLate || ended.length === nodes.length) {
    const fetched = ended.filter(({ pod }) => pod?.phase === 'Succeeded').length;
    const refusal = ended.find((one) => one.refusal !== undefined)?.refusal;
    const why = refusal === undefined ? '' : `: ${refusal.message}`;
    const message = withinCharacters(
      `${fetched} of ${nodes.length} nodes had the model before the rollout${why}`,
      mostMessage,
    );
    return { ...gate, prefetch: { revision, startTime, finishTime: timestamp(now), message } };
  }
  const fetching = nodes.filter(({ pod, isEnded }) => pod !== undefined && !isEnded);
  const missing = nodes.filter(({ pod, isEnded }) => pod === undefined && !isEnded).map(({ node }) => node);
  return {
    kind: 'prefetching',
    running,
    preflight: gate.preflight,
    prefetch: { revision, startTime },
    nodes: nodes.length,
    ended: ended.length,
    problem,
    next: missing.slice(0, Math.max(0, mostAtOnce - fetching.length)),
  };
}

/** What is refused once may be made already, only not seen yet. */
const lastingRefusals = 3;

/** Why the pod of a node is not taken, again and again: where the namespace takes none, none is waited for. */
function lastingRefusal({ refusals }: Observed, revision: string, node: string): Refusal | undefined {
  const refusal = refusals.get(prefetchWriteName(prefetchName(revision, node)));
  return refusal !== undefined && refusal.failures >= lastingRefusals ? refusal : undefined;
}

/** As long as the CRD allows. */
const mostMessage = 1024;

/** One that is being deleted tells nothing: another takes its place. */
function hasEnded({ phase, metadata }: LivePod): boolean {
  return metadata.deletionTimestamp === undefined && (phase === 'Succeeded' || phase === 'Failed');
}

/** Where pods of the model run now, and those that replace them may. */
function nodesOf({ pods }: Observed): readonly string[] {
  const staying = pods.filter(({ phase, metadata }) => phase === 'Running' && metadata.deletionTimestamp === undefined);
  return Array.from(new Set(staying.flatMap(({ node }) => (node === undefined ? [] : [node])))).sort();
}

function prefetchPodOf({ prefetchPods }: Observed, revision: string, node: string): LivePod | undefined {
  const name = prefetchName(revision, node);
  return prefetchPods.find(({ metadata }) => metadata.name === name);
}

/** What the write is called that makes a pod which fetches to a node: one that is refused says nothing of the others. */
export function prefetchWriteName(pod: string): string {
  return `create-prefetch ${pod}`;
}

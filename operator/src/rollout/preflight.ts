import type { LinkedModel, ModelSignature } from '../../../contract/src/link.ts';
import { parseModelSignature } from '../../../contract/src/link-answer.ts';
import { contractOf, type ModelDeploymentStatus, rolloutPolicyOf } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import { withinCharacters } from '../api/text.ts';
import { timestamp } from '../api/time.ts';
import { preflightName } from '../desired/preflight-pod.ts';
import type { LivePod, Observed } from '../observed.ts';
import { contractBreaches } from './model-contract.ts';
import type { Prefetch } from './prefetch.ts';
import { inWords, isHealthy, type Revision } from './revision.ts';
import { taskBreaches } from './task-contract.ts';

export type Preflight = NonNullable<ModelDeploymentStatus['preflight']>;

/** Whether the revision that the spec asks for may be rolled out. */
export type Gate =
  /** Nothing is to be checked, or it was, and well. */
  | { readonly kind: 'open'; readonly preflight: Preflight | undefined; readonly prefetch?: Prefetch | undefined }
  /** A pod of it is being asked; `running` is the revision that goes on in the meantime. */
  | {
      readonly kind: 'checking';
      readonly running: Revision;
      readonly problem: string | undefined;
      readonly preflight: Preflight | undefined;
    }
  /** Its model is being fetched to the nodes; `running` is the revision that goes on in the meantime. */
  | {
      readonly kind: 'prefetching';
      readonly running: Revision;
      readonly preflight: Preflight | undefined;
      readonly prefetch: Prefetch;
      /** How many nodes there are, and how many of them are done. */
      readonly nodes: number;
      readonly ended: number;
      /** Those that begin now. */
      readonly next: readonly string[];
      /** What keeps one of them, if anything is known to. */
      readonly problem: string | undefined;
    }
  /** It may not. */
  | { readonly kind: 'closed'; readonly running: Revision; readonly preflight: Preflight };

/** A pod that ends without a word is asked again so often: the operator may have been away. */
const mostAttempts = 3;

/**
 * Decides on the gate before a rollout. What was found out is kept in the status: a revision is asked once, and asked
 * again when somebody asks for it with the retry annotation.
 *
 * @param asked the revision that the spec asks for
 * @param problem what keeps the pod from being asked, if anything is known to
 */
export function gateOf(observed: Observed, asked: Revision, problem: string | undefined, now: Date): Gate {
  const { model, revisions } = observed;
  const status = model.status ?? {};
  const running = revisions.find(({ metadata }) => metadata.name === status.updateRevision);
  // What serves already needs no check: nobody waits to go back to it.
  const serves = status.currentRevision === asked.metadata.name;
  const isNew = running !== undefined && running.metadata.name !== asked.metadata.name && !serves;
  const known = status.preflight?.revision === asked.metadata.name ? status.preflight : undefined;
  const before = known?.verdict === 'Failed' && isAskedAgain(observed, asked) ? undefined : known;
  if (!isNew || contractOf(model.spec) !== 'Backward') return { kind: 'open', preflight: before };
  const found =
    before === undefined || before.verdict === 'Pending'
      ? judge(observed, asked, running, before, problem, now)
      : before;
  switch (found?.verdict) {
    case 'Passed':
      return { kind: 'open', preflight: found };
    case 'Failed':
      return { kind: 'closed', running, preflight: found };
    case 'Pending':
    case undefined:
      return { kind: 'checking', running, problem, preflight: found };
  }
}

function isAskedAgain({ model }: Observed, asked: Revision): boolean {
  const retry = model.metadata.annotations?.[annotations.retry];
  return retry !== undefined && retry !== model.status?.retry && retry.split('@')[0] === asked.metadata.name;
}

/** @returns what is known now: `before`, while it is no more than that */
function judge(
  observed: Observed,
  asked: Revision,
  running: Revision,
  before: Preflight | undefined,
  problem: string | undefined,
  now: Date,
): Preflight | undefined {
  const pod = preflightPodOf(observed, asked.metadata.name);
  if (pod === undefined) return before;
  const found = (verdict: Preflight['verdict'], reason: string, message: string, rest: object = {}): Preflight => ({
    revision: asked.metadata.name,
    verdict,
    reason,
    message: withinCharacters(message, maxMessage),
    time: timestamp(now),
    ...rest,
  });
  const candidate = modelOf(observed, pod.metadata.name);
  if (candidate !== undefined) return compare(observed, asked, running, candidate, before, found);
  const { name, uid, creationTimestamp = '' } = pod.metadata;
  if (pod.phase === 'Failed')
    return found('Failed', 'PreflightFailed', problem ?? `the pod ${name} ended before it had loaded the model`);
  const seconds = rolloutPolicyOf(observed.model.spec).progressDeadlineSeconds;
  // The kubelet ends a pod that it runs; nobody ends one that fits on no node.
  if (now.getTime() > Date.parse(creationTimestamp) + seconds * 1000)
    return found('Failed', 'PreflightFailed', problem ?? `the pod ${name} could not be asked within ${seconds} s`);
  if (pod.phase !== 'Succeeded' || before?.pod === uid) return before;
  const attempts = (before?.attempts ?? 0) + 1;
  const message = `the pod ${name} has ended ${attempts} times without telling which model it has loaded: its image may be none of Slipway's`;
  const verdict = attempts < mostAttempts ? 'Pending' : 'Failed';
  return found(verdict, 'PreflightFailed', message, { attempts, pod: uid });
}

type Found = (verdict: Preflight['verdict'], reason: string, message: string, rest?: object) => Preflight;

/** Compares what the candidate takes and gives with what the serving model does. */
function compare(
  observed: Observed,
  asked: Revision,
  running: Revision,
  { digest, signature }: LinkedModel,
  before: Preflight | undefined,
  found: Found,
): Preflight | undefined {
  const { revisions, model } = observed;
  const current = revisions.find(({ metadata }) => metadata.name === model.status?.currentRevision) ?? running;
  const serving = servingSignature(observed, current);
  if (serving === undefined) {
    // Its pods are about to be asked, by a leader that is new.
    if (podsOf(observed, current).some(({ metadata }) => observed.links.get(metadata.name)?.kind === 'pending'))
      return before;
    if (!isHealthy(current))
      return found('Passed', 'ContractKept', `${inWords(current)} never served, so no client minds`, { digest });
    const message = `no pod of ${inWords(current)} tells its signature, so nothing can be compared: set spec.validation.contract to Ignore to go on without`;
    return found('Failed', 'ContractUnknown', message, { digest });
  }
  const breaches = [
    ...contractBreaches(serving, signature),
    ...taskBreaches(current.data.template, asked.data.template, serving),
  ];
  if (breaches.length === 0) {
    const message = `requests to ${inWords(current)} may be sent to ${inWords(asked)}`;
    return found('Passed', 'ContractKept', message, { digest });
  }
  const message = `requests to ${inWords(current)} could fail or be answered otherwise: ${breaches.join('; ')}; set spec.validation.contract to Ignore if no client minds`;
  return found('Failed', 'ContractBroken', message, { digest });
}

/** As long as the CRD allows. */
const maxMessage = 32_768;

/** The pod that is asked of a revision; one that is being deleted has told what it had to. */
export function preflightPodOf({ preflightPods }: Observed, revision: string): LivePod | undefined {
  return preflightPods.find(
    ({ metadata }) => metadata.name === preflightName(revision) && metadata.deletionTimestamp === undefined,
  );
}

function modelOf({ links }: Observed, pod: string): LinkedModel | undefined {
  const state = links.get(pod);
  return state?.kind === 'linked' ? state.figures.model : undefined;
}

/** The signature of a revision: told by one of its pods now, or before and kept in its record. */
export function servingSignature(observed: Observed, revision: Revision): ModelSignature | undefined {
  for (const pod of podsOf(observed, revision)) {
    const told = modelOf(observed, pod.metadata.name);
    if (told !== undefined) return told.signature;
  }
  const kept = revision.metadata.annotations?.[annotations.signature];
  return kept === undefined ? undefined : parseSignature(kept);
}

function podsOf({ pods }: Observed, { metadata: { name } }: Revision): readonly LivePod[] {
  return pods.filter(({ metadata }) => metadata.annotations?.[annotations.revision] === name);
}

/** Somebody may have changed the record. */
function parseSignature(text: string): ModelSignature | undefined {
  try {
    return parseModelSignature(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** The signature to keep in a record that does not have it yet; one that is too long is not kept. */
export function signatureToKeep(observed: Observed, revision: Revision): string | undefined {
  if (revision.metadata.annotations?.[annotations.signature] !== undefined) return undefined;
  const signature = servingSignature(observed, revision);
  const text = signature === undefined ? undefined : JSON.stringify(signature);
  return text !== undefined && text.length <= maxSignature ? text : undefined;
}

/** Of the 256 KiB that all annotations of an object may hold. */
const maxSignature = 65_536;

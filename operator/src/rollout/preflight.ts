import type { LinkedModel, ModelSignature } from '../../../contract/src/link.ts';
import type { ModelDeploymentStatus } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import { timestamp } from '../api/time.ts';
import { preflightName } from '../desired/preflight-pod.ts';
import type { LivePod, Observed } from '../observed.ts';
import { contractBreaches } from './model-contract.ts';
import { inWords, type Revision } from './revision.ts';

export type Preflight = NonNullable<ModelDeploymentStatus['preflight']>;

/** Whether the revision that the spec asks for may be rolled out. */
export type Gate =
  /** Nothing is to be checked, or it was, and well. */
  | { readonly kind: 'open'; readonly preflight: Preflight | undefined }
  /** A pod of it is being asked; `running` is the revision that goes on in the meantime. */
  | { readonly kind: 'checking'; readonly running: Revision; readonly problem: string | undefined }
  /** It may not. */
  | { readonly kind: 'closed'; readonly running: Revision; readonly preflight: Preflight };

/**
 * Decides on the gate before a rollout. What was found out is kept in the status: a revision is asked once, and asked
 * again when somebody asks for it with the retry annotation.
 *
 * @param asked the revision that the spec asks for
 * @param podProblem what keeps the preflight pod from running, if anything is known to
 */
export function gateOf(observed: Observed, asked: Revision, podProblem: string | undefined, now: Date): Gate {
  const { model, revisions } = observed;
  const status = model.status ?? {};
  const running = revisions.find(({ metadata }) => metadata.name === status.updateRevision);
  const isNew = running !== undefined && running.metadata.name !== asked.metadata.name;
  const before = status.preflight?.revision === asked.metadata.name ? status.preflight : undefined;
  if (!isNew || model.spec.validation?.contract !== 'Backward') return { kind: 'open', preflight: before };
  if (before?.verdict === 'Passed') return { kind: 'open', preflight: before };
  if (before?.verdict === 'Failed' && !isAskedAgain(observed, asked))
    return { kind: 'closed', running, preflight: before };
  const found = judge(observed, asked, running, podProblem, now);
  if (found === undefined) return { kind: 'checking', running, problem: podProblem };
  return found.verdict === 'Passed'
    ? { kind: 'open', preflight: found }
    : { kind: 'closed', running, preflight: found };
}

function isAskedAgain({ model }: Observed, asked: Revision): boolean {
  const retry = model.metadata.annotations?.[annotations.retry];
  return retry !== undefined && retry !== model.status?.retry && retry.split('@')[0] === asked.metadata.name;
}

/** @returns undefined while nothing is known yet */
function judge(
  observed: Observed,
  asked: Revision,
  running: Revision,
  podProblem: string | undefined,
  now: Date,
): Preflight | undefined {
  const name = asked.metadata.name;
  const verdict = (verdict: Preflight['verdict'], reason: string, message: string, digest?: string): Preflight => ({
    revision: name,
    verdict,
    reason,
    message: message.slice(0, maxMessage),
    ...(digest === undefined ? {} : { digest }),
    time: timestamp(now),
  });
  const pod = preflightPodOf(observed, name);
  if (pod === undefined) return undefined;
  const candidate = modelOf(observed, pod.metadata.name);
  if (candidate === undefined) {
    if (pod.phase !== 'Failed') return undefined;
    return verdict(
      'Failed',
      'PreflightFailed',
      podProblem ?? `the pod ${pod.metadata.name} ended before it had loaded the model`,
    );
  }
  const current =
    observed.revisions.find(({ metadata }) => metadata.name === observed.model.status?.currentRevision) ?? running;
  const serving = servingSignature(observed, current);
  if (serving === undefined) {
    const message = `no pod of ${inWords(current)} tells its signature, so nothing can be compared: set spec.validation.contract to Ignore to go on without`;
    return verdict('Failed', 'ContractUnknown', message, candidate.digest);
  }
  const breaches = contractBreaches(serving, candidate.signature);
  if (breaches.length === 0)
    return verdict(
      'Passed',
      'ContractKept',
      `requests to ${inWords(current)} may be sent to ${inWords(asked)}`,
      candidate.digest,
    );
  const message = `requests to ${inWords(current)} could fail or be answered otherwise: ${breaches.join('; ')}; set spec.validation.contract to Ignore if no client minds`;
  return verdict('Failed', 'ContractBroken', message, candidate.digest);
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
  const pods = observed.pods.filter(
    ({ metadata }) => metadata.annotations?.[annotations.revision] === revision.metadata.name,
  );
  for (const pod of pods) {
    const told = modelOf(observed, pod.metadata.name);
    if (told !== undefined) return told.signature;
  }
  const kept = revision.metadata.annotations?.[annotations.signature];
  return kept === undefined ? undefined : parseSignature(kept);
}

/** Somebody may have changed the record. */
function parseSignature(text: string): ModelSignature | undefined {
  try {
    const value: Partial<ModelSignature> | null = JSON.parse(text);
    return Array.isArray(value?.inputs) && Array.isArray(value?.outputs) ? (value as ModelSignature) : undefined;
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

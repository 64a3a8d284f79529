import type { GoldenVerdict } from '../../../contract/src/link.ts';
import { isResolved } from '../../../contract/src/resolved-uri.ts';
import { environment } from '../../../contract/src/settings.ts';
import { digestOfSigner, type ModelSigner, signerInWords, signingKeyOf } from '../../../contract/src/signed-model.ts';
import { startupFailureReasons } from '../../../contract/src/startup-failure.ts';
import { annotations } from '../api/names.ts';
import type { LinkState, Observed, WhyUnlinked } from '../observed.ts';
import { type Revision, resolvedUri } from '../rollout/revision.ts';
import { type Finding, found } from './conditions.ts';
import { loadingInWords } from './loading.ts';
import { reportedDigests } from './reported-digests.ts';
import type { RolloutState } from './rollout-state.ts';

/** Whether the pods have loaded the model, and whether it is sure to be the same bytes next time. */
export function modelFinding(observed: Observed, current: Revision, state: RolloutState): Finding {
  const problem = 'problem' in state ? state.problem : undefined;
  if (problem !== undefined && startupFailureReasons.some((reason) => reason === problem.reason)) {
    return found('False', problem.reason, problem.message);
  }
  const { uri } = current.data.inputs.model;
  const digests = reportedDigests(observed, current.metadata.name);
  if (digests.size > 1) {
    const groups = Array.from(digests, ([digest, pods]) => `${pods.join(', ')} loaded ${digest}`);
    return found(
      'False',
      'DigestsDiffer',
      `pods of one revision loaded different models: ${groups.join('; ')}: ${uri} was changed; set spec.model.sha256`,
    );
  }
  if ((observed.deployment?.status?.readyReplicas ?? 0) === 0) {
    const busy = loadingInWords(observed, current.metadata.name);
    return found('Unknown', busy === '' ? 'NoPodServes' : 'Loading', `no pod has loaded the model yet${busy}`);
  }
  const unchecked = unsignedFinding(observed, current) ?? goldenFinding(observed, current);
  if (unchecked !== undefined) return unchecked;
  return loadedFinding(observed, current);
}

/** Of a model that is loaded and has passed what it has to, how sure it is to be the same bytes next time. */
function loadedFinding(observed: Observed, current: Revision): Finding {
  const { sha256, uri } = current.data.inputs.model;
  const resolved = resolvedUri(current);
  const signed = isToldSigned(observed, current) ? `, signed by ${wordsOfSigner(current)}` : '';
  const moved = resolved === undefined ? undefined : movedFinding(observed, current, resolved, signed);
  if (moved !== undefined) return moved;
  if (sha256 !== undefined)
    return found('True', 'Verified', `the model is loaded${signed}, and its sha256 is ${sha256}`);
  return resolved === undefined
    ? found(
        'True',
        'Unpinned',
        `the model is loaded${signed}; without spec.model.sha256 nothing guarantees that a rollback brings the same bytes`,
      )
    : found(
        'True',
        'Resolved',
        `the model is loaded${signed}; ${uri} led to ${resolved}, which a rollback brings back`,
      );
}

/** What pods that ask again have been told. They ask seldom, and not together. */
function movedFinding(observed: Observed, current: Revision, resolved: string, signed: string): Finding | undefined {
  const { uri } = current.data.inputs.model;
  const states = linksOf(observed, current);
  const [movedTo] = states
    .map(({ state }) => (state.kind === 'linked' ? state.figures.model?.movedTo : undefined))
    // A pod may run any image: what it tells leads to no other place.
    .filter((told) => told !== undefined && told !== resolved && isResolved(uri, told))
    .toSorted();
  if (movedTo !== undefined) {
    const message = `the model is loaded${signed}; ${uri} led to ${resolved}, which goes on serving, and leads to ${movedTo} by now: another spec.model.version follows it`;
    return found('True', 'Moved', message);
  }
  // As of the golden set: who was not called yet, or cannot be reached, has not changed.
  const { status } = observed.model;
  const before = status?.conditions?.find(({ type }) => type === 'ModelLoaded');
  const isUnknown = states.some(({ state }) => state.kind !== 'linked');
  return isUnknown && before?.reason === 'Moved' && status?.currentRevision === current.metadata.name
    ? found('True', before.reason, before.message)
    : undefined;
}

/** One that is no key, or no authority, has let no pod start. */
function ofSigner({ data }: Revision, what: (signer: ModelSigner) => string): string {
  const { publicKey = '', identity } = data.inputs.model.signature ?? {};
  try {
    return what(identity === undefined ? signingKeyOf(publicKey) : { issuer: undefined, ...identity });
  } catch {
    return '';
  }
}

const wordsOfSigner = (revision: Revision) => ofSigner(revision, signerInWords);
/** As pods tell it. */
const digestOfSignerOf = (revision: Revision) => ofSigner(revision, digestOfSigner);

function linksOf({ pods, links }: Observed, { metadata }: Revision) {
  return pods.flatMap((pod) => {
    const state = links.get(pod.metadata.name);
    const isOf = pod.metadata.annotations?.[annotations.revision] === metadata.name;
    return isOf && state !== undefined ? [{ name: pod.metadata.name, state }] : [];
  });
}

function isToldSigned(observed: Observed, current: Revision): boolean {
  const told = linksOf(observed, current).filter(
    ({ state }) => state.kind === 'linked' && state.figures.model?.signedBy,
  );
  return current.data.inputs.model.signature !== undefined && told.length > 0;
}

/** Pods that serve without a word of the signature: an image that is older, or somebody else's, does not look at it. */
function unsignedFinding(observed: Observed, current: Revision): Finding | undefined {
  const { model } = observed;
  const { metadata, data } = current;
  if (data.inputs.model.signature === undefined) return undefined;
  const states = linksOf(observed, current);
  const digest = digestOfSignerOf(current);
  const silent = states.filter(({ state }) => hasCheckedNothing(state, digest)).map(({ name }) => name);
  if (silent.length > 0) {
    const [container] = data.template.spec?.containers ?? [];
    const isAsked = container?.env?.some(({ name }) => signatureSettings.includes(name)) === true;
    const why = isAsked
      ? 'its image is too old to, or none of Slipway; set spec.runtime.image to a newer one'
      : 'an older operator has rendered its revision: ask for another spec.model.version';
    const message = `the model is loaded, but ${silent.join(', ')} does not tell that its signature was checked: ${why}`;
    return found('False', 'SignatureUnchecked', message);
  }
  // As of the golden set: who was not called yet, or cannot be reached, has not changed.
  const before = model.status?.conditions?.find(({ type }) => type === 'ModelLoaded');
  const isUnknown = states.some(({ state }) => state.kind !== 'linked');
  return isUnknown && before?.reason === 'SignatureUnchecked' && model.status?.currentRevision === metadata.name
    ? found('False', before.reason, before.message)
    : undefined;
}

const signatureSettings: readonly string[] = [environment.modelSignatureKey, environment.modelSignatureIdentity];

function hasCheckedNothing(state: LinkState, digest: string): boolean {
  switch (state.kind) {
    case 'pending':
      return false;
    case 'linked':
      return state.figures.model !== undefined && state.figures.model.signedBy !== digest;
    case 'unlinked':
      return state.why === 'NoLink';
  }
}

/** What pods that serve say of the golden set, where it is not that they answer as it says. */
function goldenFinding(observed: Observed, current: Revision): Finding | undefined {
  const { model } = observed;
  const { metadata, data } = current;
  if (data.inputs.goldenSet === undefined) return undefined;
  const states = linksOf(observed, current);
  const told = (verdict: GoldenVerdict | undefined) =>
    states
      .filter(({ state }) => {
        const loaded = state.kind === 'linked' ? state.figures.model : undefined;
        return loaded !== undefined && loaded.goldenSet === verdict;
      })
      .map(({ name }) => name)
      .join(', ');
  const [failed, unchecked] = [told('Failed'), told(undefined)];
  if (failed !== '') {
    const message = `the model is loaded, but ${failed} does not answer as the golden set says: it serves because the revision was healthy once; see its log`;
    return found('True', 'GoldenSetDiffers', message);
  }
  // A leader that has just begun has called nobody yet, and a pod that cannot be reached has not changed.
  const before = model.status?.conditions?.find(({ type }) => type === 'ModelLoaded');
  const isSilent =
    states.some(({ state }) => state.kind !== 'linked') && model.status?.currentRevision === metadata.name;
  if (isSilent && (before?.reason === 'GoldenSetDiffers' || before?.reason === 'GoldenSetUnchecked'))
    return found('True', before.reason, before.message);
  if (unchecked !== '') {
    const message = `the model is loaded, but ${unchecked} does not tell that it has checked the golden set: its image is too old to; set spec.runtime.image to a newer one`;
    return found('True', 'GoldenSetUnchecked', message);
  }
  return undefined;
}

/** Whether an autoscaler sets the number of pods, with what to do where that is known. */
export function autoscalingFinding({ model, autoscaler, foreignAutoscalers }: Observed): Finding {
  const isRequested = model.spec.autoscaling !== undefined;
  if (foreignAutoscalers.length > 0) {
    const names = foreignAutoscalers.map(({ name, owner }) => `${name} (of ${owner})`).join(', ');
    const left = isRequested ? 'spec.autoscaling stands aside' : 'spec.replicas is left to it';
    const out = isRequested ? 'remove it, or spec.autoscaling' : 'remove it to have spec.replicas back';
    const message = `the HorizontalPodAutoscaler ${names} scales the Deployment, and is not the operator's: ${left}; ${out}`;
    return found('False', 'ForeignAutoscaler', message);
  }
  if (!isRequested) return found('False', 'NotRequested', 'the number of pods is fixed by spec.replicas');
  const conditions = autoscaler?.status?.conditions ?? [];
  const able = conditions.find(({ type }) => type === 'AbleToScale');
  if (able?.status === 'False') return found('False', 'UnableToScale', `${able.reason}: ${able.message ?? ''}`);
  const active = conditions.find(({ type }) => type === 'ScalingActive');
  if (active === undefined) return found('Unknown', 'Starting', 'the autoscaler has not looked at the pods yet');
  const message = active.message ?? '';
  if (active.status === 'True') return found('True', 'MetricsFound', message);
  if (/the server could not find the requested resource|no matches for/.test(message)) {
    return found('False', 'NoMetricsAPI', `the cluster has no metrics API (${message}): install metrics-server`);
  }
  return found('False', 'MetricsMissing', `${active.reason}: ${message}`);
}

const whyUnlinked: Readonly<Record<WhyUnlinked, string>> = {
  NoLink: 'know no link, because their image is older or none of Slipway',
  KeyUnknown:
    'do not know the key of the operator: they learn it within minutes, if they mount the ConfigMap of the link',
  Refuses: 'do not take what the operator tells them',
  Unreachable: 'do not answer at their control port: see whether a NetworkPolicy lets the operator through',
};

/** Whether the operator and the pods that serve speak to one another. */
export function linkFinding({ model, links, linkConflict }: Observed, hasLink: boolean): Finding {
  if (linkConflict !== undefined) {
    const { name, owner } = linkConflict;
    const message = `the ConfigMap ${name} is there already and belongs to ${owner}: pods cannot learn the key of the operator; remove it to have the link`;
    return found('False', 'NameConflict', message);
  }
  if (!hasLink) return found('Unknown', 'NoLinkKey', 'the operator has no key to speak to pods with: see its log');
  const unlinked = Array.from(links).flatMap(([pod, state]) =>
    state.kind === 'unlinked' ? [[pod, state.why] as const] : [],
  );
  if (unlinked.length > 0) {
    const groups = Map.groupBy(unlinked, ([, why]) => why);
    const told = Array.from(groups, ([why, pods]) => `${pods.map(([pod]) => pod).join(', ')} ${whyUnlinked[why]}`);
    return found('False', 'PodsNotLinked', `${told.join('; ')}: no figures come from them, and no table is taken`);
  }
  if (links.size === 0) return found('Unknown', 'NoPodServes', 'no pod serves');
  const isPending = Array.from(links.values()).some(({ kind }) => kind === 'pending');
  if (!isPending) return found('True', 'Linked', 'every pod that serves is linked');
  // An operator that has just begun to lead has called nobody yet, which changes nothing.
  const before = model.status?.conditions?.find(({ type }) => type === 'Linked');
  return before?.reason === 'Linked'
    ? found('True', 'Linked', before.message)
    : found('Unknown', 'Linking', 'not every pod was called yet');
}

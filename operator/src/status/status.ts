import { type ModelDeploymentStatus, modelNameOf, type Rollback } from '../api/model-deployment.ts';
import { timestamp } from '../api/time.ts';
import { stableSelector } from '../desired/metadata.ts';
import { serviceUrl } from '../desired/service.ts';
import type { Observed, Refusal } from '../observed.ts';
import type { Gate } from '../rollout/preflight.ts';
import type { Progress } from '../rollout/progress.ts';
import { historyOf, inWords, type Revision, renderVersion } from '../rollout/revision.ts';
import { restartedAt } from '../rollout/undo.ts';
import type { Wanted } from '../rollout/wanted-revision.ts';
import { type ConditionType, type Finding, found, makeConditions } from './conditions.ts';
import type { Problem } from './diagnosis.ts';
import { retryCommand } from './events.ts';
import { autoscalingFinding, linkFinding, modelFinding } from './findings.ts';
import type { ConditionReason } from './reasons.ts';
import { reportedDigests } from './reported-digests.ts';
import type { RolloutState } from './rollout-state.ts';

export interface StatusInput {
  readonly observed: Observed;
  /** The revision that the spec asks for, and whether it may be rolled out. */
  readonly asked: Revision;
  readonly gate: Gate;
  /** The revision that the spec asks for, as far as it may be rolled out. */
  readonly target: Revision;
  readonly wanted: Wanted;
  /** The revision that serves. */
  readonly current: Revision;
  /** How far the rollout of the wanted revision has got, and since when it is. */
  readonly progress: Progress & { readonly startTime: string };
  readonly state: RolloutState;
  readonly defaultImage: string;
  /** Whether the operator has a key to sign tables with. */
  readonly hasLink: boolean;
  /** Whether the revision that the spec asks for cannot be taken up yet: a name is taken, or its record is refused. */
  readonly isHeld: boolean;
  /** Why writes that are still wanted were refused, by what they are called. */
  readonly refusals: ReadonlyMap<string, Refusal>;
  /** Children that somebody changes back again and again. */
  readonly contested: readonly { readonly child: string; readonly difference: string; readonly repairs: number }[];
  readonly now: Date;
}

/** Whether the wanted revision is another than before, or is tried again. */
export function isNewlyWanted(
  { rollback, updateRevision }: ModelDeploymentStatus = {},
  { revision, kind }: Wanted,
): boolean {
  return (rollback?.toRevision ?? updateRevision) !== revision.metadata.name || kind === 'retried';
}

/** Since when the wanted revision is. */
export function startTimeOf(status: ModelDeploymentStatus | undefined, wanted: Wanted, now: Date): string {
  const before = isNewlyWanted(status, wanted) ? undefined : status?.rollout?.startTime;
  return before ?? timestamp(now);
}

/** The revision that serves: the wanted one once every pod is of it. */
export function currentRevision({ model, revisions }: Observed, wanted: Revision, { kind }: RolloutState): Revision {
  const kept = revisions.find(({ metadata }) => metadata.name === model.status?.currentRevision);
  return kind === 'complete' || kind === 'scaling' ? wanted : (kept ?? wanted);
}

/** The whole status document. */
export function makeStatus(input: StatusInput): ModelDeploymentStatus {
  const { observed, target, wanted, current, progress, now } = input;
  const { model, deployment, revisions } = observed;
  const before = model.status ?? {};
  const targetName = target.metadata.name;
  const restarted = restartedAt(observed);
  const isRecorded = revisions.some(({ metadata }) => metadata.name === input.asked.metadata.name);
  const recorded = isRecorded ? revisions : [...revisions, input.asked];
  const { preflight } = input.gate;
  const held = input.isHeld;
  const generation = model.metadata.generation ?? 0;
  return {
    observedGeneration: generation,
    conditions: makeConditions(findings(input, current), before.conditions ?? [], generation, now),
    replicas: deployment?.status?.replicas ?? 0,
    readyReplicas: deployment?.status?.readyReplicas ?? 0,
    selector: Object.entries(stableSelector(model.metadata.name))
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    url: serviceUrl(model, modelNameOf(model)),
    currentRevision: current.metadata.name,
    updateRevision: held ? (before.updateRevision ?? targetName) : targetName,
    modelVersion: current.data.inputs.model.version,
    modelDigest: digestOf(observed, current),
    rollout: {
      message: rolloutMessage(input),
      ...progress,
      ...(restarted === undefined ? {} : { restartedAt: restarted }),
    },
    ...(preflight === undefined ? {} : { preflight }),
    ...(wanted.rollback === undefined ? {} : { rollback: wanted.rollback }),
    ...(wanted.retry === undefined ? {} : { retry: wanted.retry }),
    history: historyOf(held ? revisions : recorded),
  };
}

function findings(input: StatusInput, current: Revision): Readonly<Record<ConditionType, Finding>> {
  const { observed, state } = input;
  const available = availableFinding(observed);
  const upToDate = upToDateFinding(input);
  const stalled = stalledFinding(input);
  return {
    Ready: readyFinding(input, available, stalled),
    Available: available,
    UpToDate: upToDate,
    Reconciling: reconcilingFinding(input, stalled),
    Stalled: stalled,
    ModelLoaded: modelFinding(observed, current, state),
    RolledBack: rolledBackFinding(input),
    AutoscalingActive: autoscalingFinding(observed),
    Linked: linkFinding(observed, input.hasLink),
  };
}

function reconcilingFinding(input: StatusInput, stalled: Finding): Finding {
  const { wanted, state } = input;
  if (stalled.status === 'True') return found('False', 'Stalled', 'nothing is under way');
  if (input.gate.kind === 'checking') return found('True', 'Preflight', checkingMessage(input));
  switch (state.kind) {
    case 'complete':
      return found('False', 'Settled', 'nothing is under way');
    case 'scaling':
      return found('True', 'Scaling', 'the number of pods is changing');
    case 'starting':
    case 'progressing':
    case 'paused':
    case 'overdue': {
      const reason = wanted.rollback === undefined ? 'RollingOut' : 'RollingBack';
      return found('True', reason, `revision ${wanted.revision.metadata.name} is being rolled out`);
    }
  }
}

function rolledBackFinding(input: StatusInput): Finding {
  const { rollback } = input.wanted;
  return rollback === undefined
    ? found('False', 'NotRolledBack', 'the revision that the spec asks for is wanted')
    : found('True', rollback.trigger, rolledBackMessage(input, rollback));
}

/** What was rolled back, why, and how to go forward again. */
function rolledBackMessage({ observed, target, wanted }: StatusInput, rollback: Rollback): string {
  const { name } = observed.model.metadata;
  const retry = `until the spec asks for another revision; to try this one again: ${retryCommand(name, rollback, target)}`;
  const kept = `${inWords(wanted.revision)} is kept`;
  switch (rollback.trigger) {
    case 'Undo':
      return `${inWords(target)} was undone by ${rollback.fieldManager ?? 'somebody'}: ${kept} ${retry}`;
    case 'ProgressDeadline':
      return `${inWords(target)} missed its deadline: ${kept} ${retry}`;
  }
}

function availableFinding({ deployment, conflicts }: Observed): Finding {
  const wanted = deployment?.spec.replicas ?? 1;
  const available = deployment?.status?.availableReplicas ?? 0;
  if (conflicts.length > 0 && deployment === undefined) return found('False', 'NameConflict', 'there is no Deployment');
  if (deployment !== undefined && wanted === 0) return found('False', 'ScaledToZero', 'no pod is asked for');
  return available > 0
    ? found('True', 'PodsServe', `${available} of ${wanted} pods serve`)
    : found('False', 'NoPodServes', 'no pod serves');
}

function upToDateFinding(input: StatusInput): Finding {
  const { observed, target, wanted, state, defaultImage, gate, asked } = input;
  const { name } = target.metadata;
  if (gate.kind !== 'open') return found('False', 'Preflight', `${inWords(asked)} is not rolled out`);
  if (wanted.rollback !== undefined)
    return found('False', 'RolledBack', `${inWords(wanted.revision)} is kept in the place of revision ${name}`);
  if (state.kind !== 'complete' && state.kind !== 'scaling')
    return found('False', 'RollingOut', `not every pod runs revision ${name}`);
  const image = target.data.template.spec?.containers[0]?.image;
  const newer =
    observed.model.spec.runtime?.image === undefined && image !== defaultImage
      ? `; its inference image ${image} is not the operator's default any more: set spec.runtime.image to ${defaultImage} to take that one`
      : '';
  const older =
    target.data.renderVersion < renderVersion
      ? '; it was rendered by an older operator, so its pods have no link to this one: a new revision (another spec.model.version) has it'
      : '';
  return found('True', 'AllPodsUpdated', `every pod runs revision ${name}${newer}${older}`);
}

function stalledFinding(input: StatusInput): Finding {
  const { observed, wanted, state } = input;
  const { conflicts } = observed;
  const { refusals, contested } = input;
  if (conflicts.length > 0) {
    const taken = conflicts.map(
      ({ kind, name, owner }) => `the ${kind} ${name} is there already and belongs to ${owner}`,
    );
    return found(
      'True',
      'NameConflict',
      `${taken.join('; ')}: it was left as it is; remove it, or give the ModelDeployment another name`,
    );
  }
  if (refusals.size > 0) {
    const refused = Array.from(
      refusals,
      ([write, { message }]) => `the API server refuses ${inWordsOf(write)}: ${message}`,
    );
    return found('True', 'ApplyRefused', `${refused.join('; ')}: change the spec, or what the namespace allows`);
  }
  if (contested.length > 0) {
    const fought = contested.map(
      ({ child, difference, repairs }) => `${difference} of the ${child} was put back ${repairs} times`,
    );
    return found(
      'True',
      'DriftContested',
      `${fought.join('; ')}, and somebody changes it again: the next repair waits; find out who does (kubectl get --show-managed-fields) and change the ModelDeployment instead`,
    );
  }
  if (input.gate.kind === 'closed') {
    const { reason, message } = input.gate.preflight;
    return found('True', gateReason(reason), `${inWords(input.asked)} is not rolled out: ${message}`);
  }
  if (state.kind === 'overdue') {
    const why = state.problem === undefined ? '' : `: ${state.problem.message}`;
    const what = wanted.rollback === undefined ? 'the rollout' : `the rollback to ${inWords(wanted.revision)}`;
    return found('True', 'ProgressDeadlineExceeded', `${what} made no progress for ${state.seconds} s${why}`);
  }
  if (wanted.rollback !== undefined && (state.kind === 'complete' || state.kind === 'scaling'))
    return found('True', 'RolledBack', rolledBackMessage(input, wanted.rollback));
  return found('False', 'NotStalled', 'no help is needed');
}

function readyFinding(input: StatusInput, available: Finding, stalled: Finding): Finding {
  const { observed, wanted, state } = input;
  const { version } = wanted.revision.data.inputs.model;
  const [reason, verb] =
    wanted.rollback === undefined
      ? (['RollingOut', 'being rolled out'] as const)
      : (['RollingBack', 'brought back'] as const);
  const problem = 'problem' in state ? state.problem : undefined;
  if (stalled.status === 'True') {
    const reason = input.gate.kind === 'closed' ? stalled.reason : (problem?.reason ?? stalled.reason);
    return found('False', reason, stalled.message);
  }
  if (input.gate.kind === 'checking') return found('False', 'Preflight', checkingMessage(input));
  switch (state.kind) {
    case 'starting':
      return found('False', reason, `version ${version} is ${verb}`);
    case 'paused': {
      const resume = `kubectl rollout resume deployment/${observed.model.metadata.name}`;
      const also = problem === undefined ? '' : `; ${problem.message}`;
      return found('False', 'Paused', `the Deployment is paused, by somebody else than the operator: ${resume}${also}`);
    }
    case 'progressing':
    case 'overdue': {
      const counts = state.kind === 'progressing' ? `: ${state.updated} of ${state.wanted} pods` : '';
      return found('False', problem?.reason ?? reason, problem?.message ?? `version ${version} is ${verb}${counts}`);
    }
    case 'scaling':
    case 'complete':
      return servingFinding(`version ${version}`, state, available, problem);
  }
}

/** Every pod is of the revision: what counts is whether any serves. */
function servingFinding(what: string, state: RolloutState, available: Finding, problem: Problem | undefined): Finding {
  if (available.status !== 'True')
    return found('False', problem?.reason ?? available.reason, problem?.message ?? available.message);
  const pods = state.kind === 'scaling' ? `, with ${state.available} of ${state.wanted} pods` : '';
  return found('True', 'Ready', `${what} serves${pods}`);
}

/** What is said while a revision is asked before it is rolled out. */
function checkingMessage({ asked, gate }: StatusInput): string {
  const problem = gate.kind === 'checking' && gate.problem !== undefined ? `: ${gate.problem}` : '';
  return `${inWords(asked)} is asked before it is rolled out${problem}`;
}

/** A reason that another version of the operator has written may be unknown. */
function gateReason(reason: string): ConditionReason {
  return reason === 'ContractBroken' || reason === 'ContractUnknown' ? reason : 'PreflightFailed';
}

function rolloutMessage({ observed: { conflicts }, refusals, wanted, state, gate }: StatusInput): string {
  const { version } = wanted.revision.data.inputs.model;
  const isBack = wanted.rollback !== undefined;
  if (conflicts.length > 0) return 'name conflict';
  if (refusals.size > 0) return 'refused';
  if (gate.kind === 'checking') return 'checking';
  if (gate.kind === 'closed') return `not rolled out: ${gateReason(gate.preflight.reason)}`;
  switch (state.kind) {
    case 'starting':
      return 'starting';
    case 'paused':
      return 'paused';
    case 'progressing':
      return state.problem === undefined
        ? `rolling ${isBack ? 'back' : 'out'} ${state.updated}/${state.wanted}`
        : `stuck: ${state.problem.reason}`;
    case 'overdue':
      return `failed: ${state.problem?.reason ?? 'ProgressDeadlineExceeded'}`;
    case 'scaling':
      return state.problem === undefined
        ? `scaling ${state.available}/${state.wanted}`
        : `stuck: ${state.problem.reason}`;
    case 'complete':
      return isBack ? `rolled back to ${version}` : 'complete';
  }
}

function digestOf(observed: Observed, current: Revision): string {
  const { sha256 } = current.data.inputs.model;
  if (sha256 !== undefined) return `sha256:${sha256}`;
  const [digest] = reportedDigests(observed, current.metadata.name).keys();
  const before = observed.model.status;
  return digest ?? (before?.currentRevision === current.metadata.name ? before.modelDigest : undefined) ?? 'unknown';
}

/** What a refused write is for, in words. */
function inWordsOf(write: string): string {
  const [kind = '', child] = write.split(' ');
  switch (kind) {
    case 'create-revision':
      return 'the ControllerRevision';
    case 'delete':
      return `to delete the ${child}`;
    case 'delete-replica-set':
      return 'to delete a ReplicaSet';
    case 'delete-revision':
    case 'renumber-revision':
    case 'adopt-revision':
    case 'mark-healthy':
    case 'keep-signature':
      return 'a change of a ControllerRevision';
    case 'create-preflight':
    case 'delete-preflight':
      return 'the pod that is asked before a rollout';
    default:
      return `the ${child ?? kind}`;
  }
}

import { canaryPolicyOf, type ModelDeploymentStatus, modelNameOf } from '../api/model-deployment.ts';
import { timestamp } from '../api/time.ts';
import { stableSelector } from '../desired/metadata.ts';
import { serviceUrl } from '../desired/service.ts';
import type { Observed, Refusal } from '../observed.ts';
import { type Canary, runningRevision } from '../rollout/canary.ts';
import { commandsGiven } from '../rollout/commands.ts';
import type { Gate } from '../rollout/preflight.ts';
import type { Progress } from '../rollout/progress.ts';
import { historyOf, type Revision, resolvedUri } from '../rollout/revision.ts';
import { usedRoutes } from '../rollout/routes.ts';
import { restartedAt } from '../rollout/undo.ts';
import type { Wanted } from '../rollout/wanted-revision.ts';
import { type ConditionType, type Finding, makeConditions } from './conditions.ts';
import { autoscalingFinding, linkFinding, modelFinding } from './findings.ts';
import { reportedDigests } from './reported-digests.ts';
import {
  availableFinding,
  gateReason,
  readyFinding,
  reconcilingFinding,
  rolledBackFinding,
  stalledFinding,
  upToDateFinding,
} from './rollout-findings.ts';
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
export function isNewlyWanted(status: ModelDeploymentStatus | undefined, { revision, kind, canary }: Wanted): boolean {
  const isTriedAgain = kind === 'retried' && canary === undefined;
  return runningRevision({ model: { status } }) !== revision.metadata.name || isTriedAgain;
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
  const used = usedRoutes(observed, wanted.canary !== undefined);
  const isRecorded = revisions.some(({ metadata }) => metadata.name === input.asked.metadata.name);
  const recorded = isRecorded ? revisions : [...revisions, input.asked];
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
    ...resolvedOf(current),
    rollout: {
      message: rolloutMessage(input),
      ...progress,
      ...(restarted === undefined ? {} : { restartedAt: restarted }),
      ...(wanted.canary === undefined ? {} : { canary: wanted.canary.record }),
      ...(used.length === 0 ? {} : { routes: [...used] }),
    },
    ...foundOut(input.gate),
    ...(wanted.rollback === undefined ? {} : { rollback: wanted.rollback }),
    ...(wanted.retry === undefined ? {} : { retry: wanted.retry }),
    ...commandsOf(observed, wanted),
    history: historyOf(held ? revisions : recorded),
  };
}

/** What happened before the rollout of the revision that the spec asks for. */
function foundOut(gate: Gate): Pick<ModelDeploymentStatus, 'preflight' | 'prefetch'> {
  const { preflight } = gate;
  const prefetch = 'prefetch' in gate ? gate.prefetch : undefined;
  return { ...(preflight === undefined ? {} : { preflight }), ...(prefetch === undefined ? {} : { prefetch }) };
}

/** The commands that were dealt with. Where nothing is decided, none was given in vain. */
function commandsOf(observed: Observed, { kind }: Wanted): Pick<ModelDeploymentStatus, 'commands'> {
  const { commands: before = {} } = observed.model.status ?? {};
  const commands = kind === 'undecided' ? before : commandsGiven(observed);
  return Object.keys(commands).length === 0 ? {} : { commands };
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

function rolloutMessage({ observed: { conflicts, model }, refusals, wanted, state, gate }: StatusInput): string {
  const { version } = wanted.revision.data.inputs.model;
  const isBack = wanted.rollback !== undefined;
  if (conflicts.length > 0) return 'name conflict';
  if (refusals.size > 0) return 'refused';
  if (gate.kind === 'checking') return 'checking';
  if (gate.kind === 'prefetching') return `prefetching ${gate.ended}/${gate.nodes}`;
  if (gate.kind === 'closed') return `not rolled out: ${gateReason(gate.preflight.reason)}`;
  if (wanted.canary === undefined) return stateColumn(state, isBack, version);
  return canaryColumn(wanted.canary, canaryPolicyOf(model.spec).isWhole ? 'blue-green' : 'canary');
}

function stateColumn(state: RolloutState, isBack: boolean, version: string): string {
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

/** @param what it is called */
function canaryColumn({ record: { state, weight, paused, message } }: Canary, what: string): string {
  switch (state) {
    case 'Scaling':
    case 'Holding': {
      const how =
        paused !== undefined ? ', paused' : state === 'Holding' && message !== undefined ? ', inconclusive' : '';
      return `${what} ${weight}%${how}`;
    }
    case 'Promoting':
      return `${what} promoted`;
    case 'Failed':
      return `${what} failed`;
  }
}

function resolvedOf(current: Revision): Pick<ModelDeploymentStatus, 'resolvedUri'> {
  const uri = resolvedUri(current);
  return uri === undefined ? {} : { resolvedUri: uri };
}

function digestOf(observed: Observed, current: Revision): string {
  const { sha256 } = current.data.inputs.model;
  if (sha256 !== undefined) return `sha256:${sha256}`;
  const [digest] = reportedDigests(observed, current.metadata.name).keys();
  const before = observed.model.status;
  return digest ?? (before?.currentRevision === current.metadata.name ? before.modelDigest : undefined) ?? 'unknown';
}

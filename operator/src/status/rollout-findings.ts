import { canaryPolicyOf, type Rollback } from '../api/model-deployment.ts';
import { childInWords, childResources, isChildKind } from '../desired/children.ts';
import type { Observed } from '../observed.ts';
import type { Canary } from '../rollout/canary.ts';
import { stepOf } from '../rollout/canary-pods.ts';
import type { CommandName } from '../rollout/commands.ts';
import { inWords, renderVersion } from '../rollout/revision.ts';
import { waitsForRoutes } from '../rollout/routes.ts';
import { type Finding, found } from './conditions.ts';
import type { Problem } from './diagnosis.ts';
import { commandLine, retryCommand } from './events.ts';
import { loadingInWords } from './loading.ts';
import type { ConditionReason } from './reasons.ts';
import type { RolloutState } from './rollout-state.ts';
import type { StatusInput } from './status.ts';

export function reconcilingFinding(input: StatusInput, stalled: Finding): Finding {
  const { wanted, state } = input;
  if (stalled.status === 'True') return found('False', 'Stalled', 'nothing is under way');
  const before = beforeRollout(input);
  if (before !== undefined) return found('True', before.reason, before.message);
  if (wanted.canary !== undefined) return found('True', 'Canary', canaryMessage(input, wanted.canary));
  switch (state.kind) {
    case 'complete': {
      const waiting = waitsForRoutes(input.observed);
      return waiting === undefined
        ? found('False', 'Settled', 'nothing is under way')
        : found('True', 'LettingGo', waiting);
    }
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

export function rolledBackFinding(input: StatusInput): Finding {
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
      return `${inWords(target)} missed its deadline${rollback.message === undefined ? '' : ` (${rollback.message})`}: ${kept} ${retry}`;
    case 'GateFailed':
    case 'Aborted':
      return `${inWords(target)} was taken back (${rollback.message ?? 'a canary'}): ${kept} ${retry}`;
  }
}

export function availableFinding({ deployment, conflicts }: Observed): Finding {
  const wanted = deployment?.spec.replicas ?? 1;
  const available = deployment?.status?.availableReplicas ?? 0;
  if (conflicts.length > 0 && deployment === undefined) return found('False', 'NameConflict', 'there is no Deployment');
  if (deployment !== undefined && wanted === 0) return found('False', 'ScaledToZero', 'no pod is asked for');
  return available > 0
    ? found('True', 'PodsServe', `${available} of ${wanted} pods serve`)
    : found('False', 'NoPodServes', 'no pod serves');
}

export function upToDateFinding(input: StatusInput): Finding {
  const { observed, target, wanted, state, defaultImage, gate, asked } = input;
  const { name } = target.metadata;
  if (gate.kind !== 'open') {
    const reason = gate.kind === 'prefetching' ? 'Prefetching' : 'Preflight';
    return found('False', reason, `${inWords(asked)} is not rolled out`);
  }
  if (wanted.canary !== undefined)
    return found(
      'False',
      'Canary',
      `${inWords(wanted.canary.target)} is tried beside ${inWords(wanted.canary.stable)}`,
    );
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

export function stalledFinding(input: StatusInput): Finding {
  const { observed, wanted, state } = input;
  const { conflicts } = observed;
  const { refusals, contested } = input;
  if (conflicts.length > 0) {
    const taken = conflicts.map(
      ({ kind, name, owner }) => `the ${childResources[kind].kind} ${name} is there already and belongs to ${owner}`,
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
      ({ child, difference, repairs }) => `${difference} of the ${childOf(child)} was put back ${repairs} times`,
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
  if (wanted.canary?.record.state === 'Failed')
    return found('True', 'CanaryFailed', canaryMessage(input, wanted.canary));
  if (state.kind === 'overdue') {
    const why = state.problem === undefined ? '' : `: ${state.problem.message}`;
    const what = wanted.rollback === undefined ? 'the rollout' : `the rollback to ${inWords(wanted.revision)}`;
    return found('True', 'ProgressDeadlineExceeded', `${what} made no progress for ${state.seconds} s${why}`);
  }
  if (wanted.rollback !== undefined && (state.kind === 'complete' || state.kind === 'scaling')) {
    const waiting = waitsForRoutes(observed);
    const also = waiting === undefined ? '' : `; ${waiting}`;
    return found('True', 'RolledBack', `${rolledBackMessage(input, wanted.rollback)}${also}`);
  }
  return found('False', 'NotStalled', 'no help is needed');
}

export function readyFinding(input: StatusInput, available: Finding, stalled: Finding): Finding {
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
  const before = beforeRollout(input);
  if (before !== undefined) return found('False', before.reason, before.message);
  if (wanted.canary !== undefined) return found('False', 'Canary', canaryMessage(input, wanted.canary));
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
      const busy = loadingInWords(observed, wanted.revision.metadata.name);
      return found(
        'False',
        problem?.reason ?? reason,
        problem?.message ?? `version ${version} is ${verb}${counts}${busy}`,
      );
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

/** What is waited for before a revision is rolled out. */
function beforeRollout({ asked, gate }: StatusInput) {
  switch (gate.kind) {
    case 'checking': {
      const problem = gate.problem === undefined ? '' : `: ${gate.problem}`;
      return {
        reason: 'Preflight',
        message: `${inWords(asked)} is asked before it is rolled out${problem}`,
      } as const;
    }
    case 'prefetching': {
      const problem = gate.problem === undefined ? '' : `; ${gate.problem}`;
      const done = `${gate.ended} of ${gate.nodes} are done${problem}`;
      return {
        reason: 'Prefetching',
        message: `the model of ${inWords(asked)} is fetched to the nodes before it is rolled out: ${done}`,
      } as const;
    }
    case 'open':
    case 'closed':
      return undefined;
  }
}

/** How far a canary is, and what a person can do. */
function canaryMessage({ observed }: StatusInput, { target, stable, record }: Canary): string {
  const { name } = observed.model.metadata;
  const { steps } = canaryPolicyOf(observed.model.spec);
  const command = (which: CommandName) => commandLine(name, which, record);
  const what = inWords(target);
  const because = record.message === undefined ? '' : `: ${record.message}`;
  switch (record.state) {
    case 'Scaling':
    case 'Holding': {
      const share = `${what} is given ${record.weight} % of the requests, step ${record.step} of ${steps.length}${because}`;
      if (record.paused !== undefined) return `${share}; it is paused: ${command('resume')}`;
      const isManual = record.state === 'Holding' && stepOf(observed, record).hold === 'Manual';
      return isManual ? `${share}; it waits for somebody: ${command('resume')}, or ${command('abort')}` : share;
    }
    case 'Promoting':
      return `${what} takes the place of ${inWords(stable)}`;
    case 'Failed':
      return `${what} failed as a canary, and is given no requests${because}; ${command('abort')}, or ${command('promote')}`;
  }
}

/** What a refused write is for, in words. */
function inWordsOf(write: string): string {
  const [kind = '', child] = write.split(' ');
  switch (kind) {
    case 'create-revision':
      return 'the ControllerRevision';
    case 'delete':
      return `to delete the ${childOf(child)}`;
    case 'delete-replica-set':
      return 'to delete a ReplicaSet';
    case 'forget-scaling':
      return `to change the annotations of the ReplicaSet ${child}, which its rollout waits for: the operator's role needs to patch replicasets`;
    case 'delete-revision':
    case 'renumber-revision':
    case 'adopt-revision':
    case 'mark-healthy':
    case 'keep-signature':
    case 'keep-resolved-uri':
      return 'a change of a ControllerRevision';
    case 'patch-route':
      return `other weights of the ${write.slice(kind.length + 1)}`;
    case 'create-preflight':
    case 'delete-preflight':
      return 'the pod that is asked before a rollout';
    case 'create-prefetch':
    case 'delete-prefetch':
      return 'a pod that fetches the model to a node before a rollout';
    default:
      return `the ${child === undefined ? kind : childOf(child)}`;
  }
}

function childOf(name = ''): string {
  return isChildKind(name) ? childInWords(name) : name;
}

/** A reason that another version of the operator has written may be unknown. */
export function gateReason(reason: string): ConditionReason {
  return reason === 'ContractBroken' || reason === 'ContractUnknown' ? reason : 'PreflightFailed';
}

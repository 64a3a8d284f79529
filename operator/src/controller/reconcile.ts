import type { Logger } from 'pino';
import type { ModelDeployment } from '../api/model-deployment.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Consistency } from '../kube/consistency.ts';
import { isNotFound } from '../kube/errors.ts';
import type { EventRecorder } from '../kube/events.ts';
import { type KubeObject, keyOf, pathOf } from '../kube/objects.ts';
import type { PassResult } from '../kube/runner.ts';
import type { ModelReports } from '../podlink/model-reports.ts';
import { type Caches, modelDeploymentResource } from './caches.ts';
import { decide, type Policy } from './decide.ts';
import { execute } from './execute.ts';
import { observe, StaleView } from './observe.ts';
import type { OccupiedNames } from './occupied-names.ts';
import { type Refusals, Refused } from './refusals.ts';
import type { Resistance } from './resistance.ts';
import type { Decision } from './writes.ts';

export interface ReconcileOptions {
  readonly caches: Caches;
  readonly client: KubeClient;
  readonly consistency: Consistency;
  readonly resistance: Resistance;
  readonly refusals: Refusals;
  readonly occupied: OccupiedNames;
  readonly reports: ModelReports;
  readonly events: EventRecorder;
  readonly policy: Policy;
  readonly log: Logger;
  readonly now: () => number;
}

/** How soon a pass is tried again whose view was too old. The event that makes it current comes sooner, as a rule. */
const staleMilliseconds = 250;

/** How soon the status tells of a refusal. */
const refusedMilliseconds = 50;

/** One pass over a ModelDeployment: observe, decide, apply. */
export async function reconcile(key: string, options: ReconcileOptions): Promise<PassResult> {
  const { caches, consistency, policy, now } = options;
  const model = caches.models.get(key);
  if (model === undefined || model.metadata.deletionTimestamp !== undefined) return {};
  if (!consistency.isCurrent(key)) return { requeueAfterMilliseconds: staleMilliseconds };
  const log = options.log.child({ namespace: model.metadata.namespace, name: model.metadata.name });
  try {
    const observed = await observe(model, options);
    const decision = decide(observed, new Date(now()), policy);
    const progress = { isUnderWay: decision.writes.length === 0 };
    let refused = false;
    try {
      refused = await writeAll(decision, model, options, log, progress);
    } finally {
      // Once the status is written, the next pass would not see that anything has changed. Before, it decides anew.
      if (progress.isUnderWay) await recordAll(decision, model, options, log);
    }
    const after = refused ? refusedMilliseconds : decision.requeueAfterMilliseconds;
    return after === undefined ? {} : { requeueAfterMilliseconds: after };
  } catch (error) {
    if (!(error instanceof StaleView)) throw error;
    log.debug({ reason: error.message }, 'the view is old');
    return { requeueAfterMilliseconds: staleMilliseconds };
  }
}

/**
 * Makes the writes in order. A child that the API server refuses does not hold up the others.
 *
 * @returns whether a child was refused that was not refused before
 */
async function writeAll(
  { writes }: Decision,
  model: ModelDeployment,
  options: ReconcileOptions,
  log: Logger,
  progress: { isUnderWay: boolean },
): Promise<boolean> {
  let news = false;
  if (isUnguarded(writes)) await confirm(model, options);
  for (const write of writes) {
    try {
      await execute(write, model, options);
      if (write.kind !== 'create-revision') progress.isUnderWay = true;
      log.info({ write: describe(write) }, 'wrote');
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      news = options.refusals.note(keyOf(model), error) || news;
      log.warn({ write: describe(write), reason: error.message }, 'the API server refuses a child');
    }
  }
  return news;
}

/** Writing the status, or making a record of a new revision, fails by itself when the view is old. */
function isUnguarded([first]: Decision['writes']): boolean {
  return first !== undefined && first.kind !== 'write-status' && first.kind !== 'create-revision';
}

/**
 * Asks the API server whether this is still the ModelDeployment. The caches of a process that has just begun to lead may
 * show what the one before has made, and not yet the change that it was made for, which must not look like drift.
 *
 * @throws StaleView
 */
async function confirm({ metadata }: ModelDeployment, { client }: ReconcileOptions): Promise<void> {
  const path = pathOf(modelDeploymentResource, metadata.namespace, metadata.name);
  const live: KubeObject | undefined = await client.call<KubeObject>('GET', path).catch((error: unknown) => {
    if (isNotFound(error)) return undefined;
    throw error;
  });
  if (live?.metadata.resourceVersion !== metadata.resourceVersion)
    throw new StaleView('the ModelDeployment has changed since');
}

/** Events are for people to read; the state of things does not hang on them. */
async function recordAll(
  { events }: Decision,
  model: ModelDeployment,
  options: ReconcileOptions,
  log: Logger,
): Promise<void> {
  for (const event of events) {
    await options.events
      .record(model, event)
      .catch((error: unknown) => log.warn({ event, err: error }, 'an event was lost'));
  }
}

function describe(write: Parameters<typeof execute>[0]): string {
  return 'child' in write ? `${write.kind} ${write.child}` : write.kind;
}

import type { Logger } from 'pino';
import type { ModelDeployment } from '../api/model-deployment.ts';
import { canonical } from '../canonical.ts';
import { childResources } from '../desired/children.ts';
import { liveObject } from '../kube/live-object.ts';
import { controllerOf, pathOf } from '../kube/objects.ts';
import type { PassResult } from '../kube/runner.ts';
import type { LiveChild, LiveDeployment } from '../observed.ts';
import { modelDeploymentResource } from './caches.ts';
import { decide } from './decide.ts';
import { createExecutor, type Executor } from './execute.ts';
import { failureOf, StaleView } from './failure.ts';
import { asLiveChild } from './live-objects.ts';
import type { ModelMemory } from './memory.ts';
import { observe } from './observe.ts';
import type { PassOptions } from './pass-options.ts';
import { type Decision, nameOf, type Write } from './writes.ts';

/** How soon a pass is tried again whose view was too old. The event that makes it current comes sooner, as a rule. */
const staleMilliseconds = 250;

/** How soon the status tells of a refusal. */
const refusedMilliseconds = 50;

/** One pass over a ModelDeployment: observe, decide, apply. */
export async function reconcile(key: string, options: PassOptions): Promise<PassResult> {
  const { caches, memory, policy, now } = options;
  const model = caches.models.get(key);
  if (model === undefined || model.metadata.deletionTimestamp !== undefined) return {};
  if (!memory.of(model).ownWrites.areSeen) return { requeueAfterMilliseconds: staleMilliseconds };
  const log = options.log.child({ namespace: model.metadata.namespace, name: model.metadata.name });
  try {
    const observed = await observe(model, options);
    const decision = decide(observed, new Date(now()), policy());
    options.metrics.setCanary(model.metadata, decision.canary);
    const isToBeRecorded = decision.writes.some(({ kind }) => kind === 'write-status');
    const progress = { isUnderWay: decision.writes.length === 0, isRecorded: !isToBeRecorded };
    let news = false;
    try {
      news = await writeAll(decision, model, options, log, progress);
    } finally {
      // Pods are told no more than the status tells.
      if (progress.isRecorded) options.link.tell(model.metadata.uid, decision.link);
      // Once the status is written, the next pass would not see that anything has changed. Before, it decides anew.
      if (progress.isUnderWay) await recordAll(decision, model, options, log);
    }
    const after = news ? refusedMilliseconds : decision.requeueAfterMilliseconds;
    return after === undefined ? {} : { requeueAfterMilliseconds: after };
  } catch (error) {
    const failure = failureOf(error, options.authority);
    switch (failure.kind) {
      case 'stale':
        log.debug({ reason: failure.message }, 'the view is old');
        return { requeueAfterMilliseconds: staleMilliseconds };
      case 'deposed':
        return {};
      case 'refused':
      case 'failed':
        throw error;
    }
  }
}

/**
 * Makes the writes in order. One that the API server refuses holds up only what hangs on it: other writes to the same
 * child, and everything else if it is the record of a revision or the status.
 *
 * @returns whether a write was refused that was not refused before
 */
async function writeAll(
  { writes, evidence }: Decision,
  model: ModelDeployment,
  options: PassOptions,
  log: Logger,
  progress: { isUnderWay: boolean; isRecorded: boolean },
): Promise<boolean> {
  const memory = options.memory.of(model);
  const executor = createExecutor(model, options);
  const heldUp = new Set<string>();
  let news = false;
  if (isUnguarded(writes)) await confirm(model, options);
  if (evidence !== undefined && writes.length > 0) await confirmDeployment(evidence.deployment, model, options);
  for (const write of writes) {
    if ('child' in write && heldUp.has(write.child)) continue;
    const refusal = await tryWrite(write, executor, memory, options, log);
    if (refusal === undefined) {
      note(write, progress);
      continue;
    }
    news = refusal.isNews || news;
    // What comes before the status is what it relies on.
    if (isBeforeStatus(write, writes)) break;
    if ('child' in write) heldUp.add(write.child);
  }
  return news;
}

function note({ kind }: Write, progress: { isUnderWay: boolean; isRecorded: boolean }): void {
  if (kind !== 'create-revision') progress.isUnderWay = true;
  if (kind === 'write-status') progress.isRecorded = true;
}

function isBeforeStatus(write: Write, writes: Decision['writes']): boolean {
  const status = writes.findIndex(({ kind }) => kind === 'write-status');
  return write.kind === 'create-revision' || writes.indexOf(write) < status;
}

/** @returns the refusal, if the API server does not take the write */
async function tryWrite(
  write: Write,
  executor: Executor,
  memory: ModelMemory,
  { authority, now }: PassOptions,
  log: Logger,
): Promise<{ readonly isNews: boolean } | undefined> {
  const name = nameOf(write);
  try {
    await executor.execute(write);
    memory.taken(name);
    log.info({ write: name }, 'wrote');
    return undefined;
  } catch (error) {
    const failure = failureOf(error, authority);
    // A status that is refused cannot say so.
    if (failure.kind !== 'refused' || write.kind === 'write-status') throw error;
    log.warn({ write: name, reason: failure.message }, 'the API server refuses a write');
    return { isNews: memory.refused(name, failure.message, now()) };
  }
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
async function confirm({ metadata }: ModelDeployment, { client }: PassOptions): Promise<void> {
  const live = await liveObject(client, pathOf(modelDeploymentResource, metadata.namespace, metadata.name));
  if (live?.metadata.resourceVersion !== metadata.resourceVersion)
    throw new StaleView('the ModelDeployment has changed since');
}

/**
 * Asks the API server whether the Deployment is still what was seen of it. Caches lag behind one another: that of Deployments may show an
 * undo which was answered, as the status no longer says, or not yet one that came before a new spec.
 *
 * @throws StaleView
 */
async function confirmDeployment(
  seen: LiveDeployment | undefined,
  { metadata: { namespace, name, uid } }: ModelDeployment,
  { client }: PassOptions,
): Promise<void> {
  const found = await liveObject(client, pathOf(childResources.Deployment, namespace, name));
  const live = found === undefined ? undefined : asLiveChild({ ...found, kind: childResources.Deployment.kind });
  const isSame =
    seen === undefined
      ? live === undefined || controllerOf(live)?.uid !== uid
      : live !== undefined && canonical(evidenceIn(live)) === canonical(evidenceIn(seen));
  if (!isSame) throw new StaleView('the Deployment has changed since');
}

/** An undo is answered by who owns its template, which no generation tells. */
function evidenceIn({ metadata: { uid, generation = 0 }, intruders }: LiveDeployment | LiveChild<unknown>) {
  return { uid, generation, intruders };
}

/** Events are for people to read; the state of things does not hang on them. */
async function recordAll(
  { events }: Decision,
  model: ModelDeployment,
  options: PassOptions,
  log: Logger,
): Promise<void> {
  for (const event of events) {
    await options.events
      .record(model, event)
      .catch((error: unknown) => log.warn({ event, err: error }, 'an event was lost'));
  }
}

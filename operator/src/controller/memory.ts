import { fingerprint } from '../canonical.ts';
import type { ChildKind } from '../desired/children.ts';
import { findDifference } from '../desired/difference.ts';
import { OwnWrites } from '../kube/own-writes.ts';
import type { Attempt, LiveChild, Refusal, Repairs } from '../observed.ts';
import { isBehind, type LiveRoute } from '../rollout/routes.ts';
import { quarrelMilliseconds, refusalDelay } from './damping.ts';

/** Gateways take a route within seconds. */
const gatewayMilliseconds = 60_000;

/** What is remembered of one ModelDeployment between passes. It is lost with the process, and found out again. */
export class ModelMemory {
  readonly ownWrites = new OwnWrites();
  /**
   * Children that could not be made because an object of the name is there already, though no cache shows it: it is
   * somebody else's, or ours and somebody took its label away. The next pass asks which.
   */
  readonly occupied = new Set<ChildKind>();
  /** The generation of the spec whose routes were looked at last, when nothing was tried. */
  routesLookedAt: number | undefined;
  readonly #refusals = new Map<string, Refusal>();
  readonly #attempts = new Map<ChildKind, Attempt>();
  readonly #routeRepairs = new Map<string, Repairs>();
  /** Routes that a Gateway has not taken as they are, and since when. */
  readonly #behind = new Map<string, { readonly generation: number; readonly since: number }>();

  /** Why the API server refuses writes, by what they are called. */
  get refusals(): ReadonlyMap<string, Refusal> {
    return this.#refusals;
  }

  /** The last applies to children that were there already. */
  get attempts(): ReadonlyMap<ChildKind, Attempt> {
    return this.#attempts;
  }

  /** The last patches of routes, by their names. */
  get routeRepairs(): ReadonlyMap<string, Repairs> {
    return this.#routeRepairs;
  }

  /**
   * Whether a Gateway is waited for to take a route as it is now: one that stands still, because it is gone say, not for long.
   *
   * @param now in milliseconds since 1970
   */
  isWaitedFor(name: string, route: LiveRoute, now: number): boolean {
    if (!isBehind(route)) {
      this.#behind.delete(name);
      return false;
    }
    const { generation = 0 } = route.metadata;
    const known = this.#behind.get(name);
    const since = known?.generation === generation ? known.since : now;
    this.#behind.set(name, { generation, since });
    return now - since < gatewayMilliseconds;
  }

  /** @returns whether this is the first refusal of the write, in whatever words */
  refused(write: string, message: string, now: number): boolean {
    const failures = (this.#refusals.get(write)?.failures ?? 0) + 1;
    this.#refusals.set(write, { message, failures, retryAt: now + refusalDelay(failures) });
    return failures === 1;
  }

  taken(write: string): void {
    this.#refusals.delete(write);
  }

  /**
   * Notes the answer to an apply to a child that was there.
   *
   * @param before its resourceVersion when it was applied to
   */
  applied(child: ChildKind, manifest: object, before: string, answer: LiveChild<unknown>, now: number): void {
    const desired = fingerprint(manifest);
    const changed = before !== answer.metadata.resourceVersion;
    this.#attempts.set(child, {
      ...repairedAgain(this.#attempts.get(child), desired, now),
      live: liveFingerprint(answer),
      resisted: !changed || findDifference(manifest, answer, answer.applied) !== undefined,
    });
  }

  /** Notes that a route was given weights. */
  routePatched(route: string, desired: string, now: number): void {
    this.#routeRepairs.set(route, repairedAgain(this.#routeRepairs.get(route), desired, now));
  }

  /** An attempt that was resisted may be repeated once the object is another than the answer was. */
  childChanged(child: ChildKind, live: LiveChild<unknown> | undefined): void {
    const attempt = this.#attempts.get(child);
    if (attempt?.resisted !== true) return;
    if (live === undefined || liveFingerprint(live) !== attempt.live)
      this.#attempts.set(child, { ...attempt, resisted: false });
  }

  /** An undo, say, is answered however often there was one: that is no quarrel about what was wanted before. */
  decidedAnew(): void {
    this.#attempts.clear();
    this.#routeRepairs.clear();
  }

  /** What was refused or resisted may be taken now. */
  specChanged(): void {
    this.#refusals.clear();
    this.decidedAnew();
  }
}

/** What is remembered of every ModelDeployment, by its uid: one that is made anew under a name begins afresh. */
export class Memory {
  readonly #models = new Map<string, ModelMemory>();

  of({ metadata: { uid } }: { readonly metadata: { readonly uid: string } }): ModelMemory {
    const known = this.#models.get(uid) ?? new ModelMemory();
    this.#models.set(uid, known);
    return known;
  }

  forget({ metadata: { uid } }: { readonly metadata: { readonly uid: string } }): void {
    this.#models.delete(uid);
  }
}

/** Repairs of the same, soon after each other, are of one quarrel. */
function repairedAgain(last: Repairs | undefined, desired: string, now: number): Repairs {
  const isQuarrel = last?.desired === desired && now - last.at < quarrelMilliseconds;
  return { desired, repairs: isQuarrel ? last.repairs + 1 : 1, at: now };
}

/** Of what an apply can change; not of the status, which changes all the time. */
function liveFingerprint({ metadata, spec, ...rest }: LiveChild<unknown>): string {
  const data = 'data' in rest ? rest.data : undefined;
  return fingerprint({ spec, data, labels: metadata.labels, owners: metadata.ownerReferences });
}

import type { Table } from '../../../contract/src/link.ts';
import { noMeasures } from '../../../contract/src/measures.ts';
import { nothingPassedOn } from '../../../contract/src/traffic.ts';
import { type IntervalCounts, noBuckets, type PodSeries } from '../analysis/pod-series.ts';
import type { ModelDeploymentSpec } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import { decide } from '../controller/decide.ts';
import { ModelMemory } from '../controller/memory.ts';
import type { Decision, Write } from '../controller/writes.ts';
import type { LinkState, LiveDeployment, LivePod, Observed } from '../observed.ts';
import { templateRevision } from '../rollout/revision.ts';
import {
  type BackendReference,
  isSame,
  type LiveRoute,
  type RouteState,
  routeInWords,
  routesOf,
} from '../rollout/routes.ts';
import { perform, policy, settle, now as start } from './simulation.ts';
import { completeDeployment, pod } from './test-objects.ts';
import { afterVersions, asking, nameOf } from './versions.ts';

/** What the pods of a canary give, in each interval and for each serving pod. */
export interface Answers {
  readonly requests: number;
  readonly failed: number;
  readonly saturated: number;
  readonly differing: number;
  /** The bucket of the histogram that all answers of a pod fall into. */
  readonly canaryBucket: number;
  readonly stableBucket: number;
}

const good: Answers = { requests: 100, failed: 0, saturated: 0, differing: 0, canaryBucket: 20, stableBucket: 20 };

/** A cluster in which canaries live, as pure state with a clock: pods come up, take tables, and count. */
export class CanaryLife {
  state: Observed;
  time = start.getTime();
  /** What pods are told. */
  table: Table = {};
  readonly decisions: Decision[] = [];
  /** Whether pods of a canary become available, and pods take tables. */
  areCanariesAble = true;
  areTablesTaken = true;
  isStableAble = true;
  /** Whether a Gateway takes routes as they are now, and those that it has taken. */
  isGatewayAble = true;
  taken: readonly LiveRoute[] = [];
  /** Called after every write. */
  onWrite: () => void = () => undefined;
  /** The pods of a canary that are there, whatever its Deployment asks for. */
  canaryPodsSeen: readonly LivePod[] | undefined;
  readonly #memory = new ModelMemory();
  readonly #routesThere = new Map<string, RouteState>();
  #series = new Map<string, { revision: string; intervals: IntervalCounts[] }>();

  constructor(state: Observed) {
    this.state = state;
  }

  get now(): Date {
    return new Date(this.time);
  }

  get status() {
    return this.state.model.status ?? {};
  }

  get canary() {
    return this.status.rollout?.canary;
  }

  get events(): string[] {
    return this.decisions.flatMap(({ events }) => events.map(({ reason }) => reason));
  }

  get share(): unknown {
    return this.table['traffic'];
  }

  /** The routes of the cluster, those that are not read as well. */
  get routes(): readonly RouteState[] {
    return Array.from(this.#routesThere.values());
  }

  nameOf(version: string): string {
    return nameOf(this.state, version);
  }

  /** The revisions that the two Deployments run. */
  get running() {
    const { deployment, canaryDeployment } = this.state;
    return [templateRevision(deployment?.spec.template), templateRevision(canaryDeployment?.spec.template)];
  }

  /** The spec asks for another version, or something else. */
  ask(version: string, rest: Partial<ModelDeploymentSpec> = {}): this {
    this.state = asking(this.state, version, { ...this.#rest(), ...rest });
    return this.settle();
  }

  #rest(): Partial<ModelDeploymentSpec> {
    const { model: _, ...rest } = this.state.model.spec;
    return rest;
  }

  annotate(name: 'promote' | 'abort' | 'pause' | 'resume' | 'retry', value: string): this {
    const { model } = this.state;
    const added = { ...model.metadata.annotations, [annotations[name]]: value };
    this.state = { ...this.state, model: { ...model, metadata: { ...model.metadata, annotations: added } } };
    return this.settle();
  }

  /** Time passes, interval after interval, in which the pods answer so. */
  pass(seconds: number, answers: Partial<Answers> = {}, intervalSeconds = 15): this {
    for (let left = seconds; left > 0; left -= intervalSeconds) {
      this.#count({ ...good, ...answers }, intervalSeconds);
      this.time += Math.min(left, intervalSeconds) * 1000;
      this.settle();
    }
    return this;
  }

  /** One of the four pods that serve is gone, and does not come back. */
  missStablePod(): void {
    const { deployment } = this.state;
    if (deployment === undefined) throw new Error('there is no Deployment');
    this.isStableAble = false;
    const status = { ...deployment.status, availableReplicas: 3 };
    this.state = { ...this.state, deployment: { ...deployment, status } };
  }

  #count(
    { requests, failed, saturated, differing, canaryBucket, stableBucket }: Answers,
    intervalSeconds: number,
  ): void {
    const interval = Math.floor(this.time / (intervalSeconds * 1000));
    const isShared = this.share !== undefined;
    const histogram = (bucket: number) => ({ first: bucket, counts: [requests] });
    const add = (name: string, revision: string, counts: Partial<IntervalCounts>) => {
      // A pod has one revision for all of its life.
      const key = `${revision}-${name}`;
      const known = this.#series.get(key) ?? { revision, intervals: [] };
      this.#series.set(key, known);
      const nothing = {
        requests,
        failed: 0,
        passedOn: 0,
        passedOnFailed: 0,
        saturated: 0,
        compared: 0,
        differing: 0,
        buckets: noBuckets,
      };
      known.intervals.push({ ...nothing, ...counts, interval });
    };
    const weight = this.canary?.weight ?? 0;
    for (const { metadata } of this.state.pods) {
      const passed = isShared && weight > 0 ? { passedOn: requests, passedOnFailed: failed, saturated } : {};
      // Where everything is passed on, nothing is answered by itself, nor compared.
      const compared = isShared && weight < 100 ? { compared: requests, differing } : {};
      const own = isShared && weight === 100 ? { requests: 0 } : { buckets: histogram(stableBucket) };
      add(metadata.name, this.running[0] ?? '', { ...passed, ...compared, ...own });
    }
    for (const { metadata } of this.state.canaryPods)
      add(metadata.name, this.running[1] ?? '', { failed, buckets: histogram(canaryBucket) });
  }

  get #allSeries(): PodSeries[] {
    return Array.from(this.#series, ([name, { revision, intervals }]) => ({
      pod: name,
      revision,
      passedOnTo: '',
      intervals,
    }));
  }

  /** One pass, which dies after so many writes. */
  step(writes: number): this {
    this.#react();
    const decision = this.decide();
    this.#perform(decision.writes.slice(0, writes));
    return this;
  }

  /** Passes until nothing is left to write. */
  settle(): this {
    for (let round = 0; round < 20; round++) {
      this.#react();
      const decision = this.decide();
      this.table = decision.link.table;
      if (decision.writes.length === 0) return this;
      this.decisions.push(decision);
      this.#perform(decision.writes);
    }
    throw new Error(`never settled: ${JSON.stringify(this.decisions.at(-1)?.writes.map(({ kind }) => kind))}`);
  }

  #perform(writes: readonly Write[]): void {
    for (const write of writes) {
      this.state = perform(this.state, write);
      this.onWrite();
    }
  }

  decide(): Decision {
    return decide(this.state, this.now, policy);
  }

  /** What the other controllers, and the pods, do meanwhile. */
  #react(): void {
    const { deployment, canaryDeployment } = this.state;
    const pods = this.#podsOf('stable', deployment);
    const canaryPods = this.canaryPodsSeen ?? (this.areCanariesAble ? this.#podsOf('canary', canaryDeployment) : []);
    const known = this.state.links;
    const links = new Map(
      [...pods, ...canaryPods].map(({ metadata }): [string, LinkState] => {
        const before = known.get(metadata.name);
        const kept = before?.kind === 'linked' ? before.figures.table : undefined;
        const table = this.areTablesTaken ? { sequence: 1, table: this.table } : kept;
        const common = { revision: undefined, model: undefined, measures: noMeasures, passedOn: nothingPassedOn };
        return [metadata.name, { kind: 'linked', figures: { ...common, table } }];
      }),
    );
    this.state = {
      ...this.state,
      deployment: deployment === undefined || !this.isStableAble ? deployment : completeDeployment(deployment),
      canaryDeployment:
        canaryDeployment === undefined || !this.areCanariesAble
          ? canaryDeployment
          : completeDeployment(canaryDeployment),
      pods,
      canaryPods,
      links,
      series: this.#allSeries,
      routes: this.#routes(),
    };
  }

  /** As a Gateway takes them. */
  #routes(): readonly RouteState[] {
    const { model, routes } = this.state;
    for (const one of routes) this.#routesThere.set(routeInWords(one.reference), one);
    const there = Array.from(this.#routesThere.values());
    if (this.isGatewayAble) this.taken = there.flatMap((one) => (one.kind === 'found' ? [one.route] : []));
    // Others are not read.
    const read = there.filter(({ reference }) => routesOf(model, true).some((one) => isSame(one, reference)));
    return read.map((one) => {
      if (one.kind !== 'found') return one;
      const route = this.isGatewayAble ? takenRoute(one.route) : one.route;
      return { ...one, route, isBehind: this.#memory.isWaitedFor(routeInWords(one.reference), route, this.time) };
    });
  }

  #podsOf(track: string, deployment: LiveDeployment | undefined): LivePod[] {
    const revision = templateRevision(deployment?.spec.template) ?? '';
    const conditions = [{ type: 'Ready', status: 'True' as const }];
    return Array.from({ length: deployment?.spec.replicas ?? 0 }, (_, index) =>
      pod(`${track}-${index}`, revision, { ready: true }, { conditions, ip: `10.0.${track.length}.${index}` }),
    );
  }
}

function takenRoute(route: LiveRoute): LiveRoute {
  const observedGeneration = route.metadata.generation ?? 0;
  const parents = (route.status?.parents ?? []).map(({ conditions = [] }) => ({
    conditions: conditions.map((condition) => ({ ...condition, observedGeneration })),
  }));
  return { ...route, status: { parents } };
}

type Rollout = NonNullable<ModelDeploymentSpec['rollout']>;

export const canarySteps: NonNullable<NonNullable<Rollout['canary']>['steps']> = [
  { weight: 5, holdSeconds: 60 },
  { weight: 50, holdSeconds: 120 },
];

export const canaryPolicy = (
  rest: { [field in keyof Rollout]?: Rollout[field] | undefined } = {},
): Partial<ModelDeploymentSpec> => ({
  replicas: 4,
  rollout: JSON.parse(JSON.stringify({ strategy: 'Canary', canary: { steps: canarySteps }, ...rest })),
  validation: { contract: 'Ignore' },
});

/** A route of a Gateway that sends everything to the model, unless it says otherwise. */
export const liveRoute = (backendRefs: readonly BackendReference[] = [{ name: 'iris' }]): LiveRoute => ({
  metadata: { name: 'iris', resourceVersion: '1', generation: 1 },
  spec: { rules: [{ backendRefs }] },
  status: { parents: [{ conditions: [{ type: 'Accepted', status: 'True', observedGeneration: 1 }] }] },
});

export const foundRoute = (route = liveRoute()): Extract<RouteState, { readonly kind: 'found' }> => ({
  kind: 'found',
  reference: { kind: 'HTTPRoute', name: 'iris' },
  route,
  isBehind: false,
});

/** Versions 1 and 2 were healthy, and 2 runs with four pods. */
export function afterTwo(rest: Parameters<typeof canaryPolicy>[0] = {}): CanaryLife {
  return new CanaryLife(settle(asking(afterVersions('1', '2'), '2', canaryPolicy(rest))).state);
}

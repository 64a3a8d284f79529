import { sign } from 'node:crypto';
import type { Measures } from '../../../contract/src/link.ts';
import {
  type LinkAnswer,
  type LinkCall,
  type LinkGreeting,
  linkVersion,
  type Refusal,
  type SignedTable,
  type TableClaims,
} from '../../../contract/src/link.ts';
import { NotALink, parseLinkAnswer } from '../../../contract/src/link-answer.ts';
import { MeasuresTotal, noMeasures } from '../../../contract/src/measures.ts';
import { routes } from '../../../contract/src/ports.ts';
import type { PodSeries } from '../analysis/pod-series.ts';
import { type Clock, WorkQueue } from '../kube/queue.ts';
import { runWorkers } from '../kube/runner.ts';
import type { LinkOrder, LinkState } from '../observed.ts';
import type { LinkKey } from './link-keys.ts';
import { PodAnswer, type PodCall, type ReachablePod } from './pod-calls.ts';
import { Recording } from './recording.ts';

/** A pod that figures are wanted from. */
export interface LinkedPod extends ReachablePod {
  readonly uid: string;
  /** The key and the uid of the ModelDeployment it belongs to. */
  readonly key: string;
  readonly model: string;
}

/** The operator's side of the pod link: calls each pod that is followed, every few seconds, for as long as it is. */
export interface PodLink {
  /** What is known of a pod, which is followed from now on. */
  follow(pod: LinkedPod): LinkState;
  /** The pod does not serve now. It is called no more, until it is followed again; what it has counted stays. */
  rest(uid: string): void;
  /** The pod is gone. */
  forget(uid: string): void;
  /** What all pods of a ModelDeployment (its uid) have counted since the operator leads, those that are gone included. */
  measuresOf(model: string): Measures;
  /** What its pods are told from now on, and what is kept of what they tell. What is new is told at once. */
  tell(model: string, order: LinkOrder): void;
  /** What its pods have counted, by intervals, as far as that is kept. */
  seriesOf(model: string): readonly PodSeries[];
  /** Since when they are kept, in milliseconds since 1970; undefined where they are not. */
  countedSince(model: string): number | undefined;
  /** The ModelDeployment is gone. */
  forgetModel(model: string): void;
  readonly followed: number;
  /** Calls until it is closed. */
  run(): Promise<void>;
  close(): void;
}

export interface PodLinkOptions {
  readonly call: PodCall;
  /** The newest first. Pods that have not learnt it yet are called with an older one. */
  readonly keys: () => readonly LinkKey[];
  /** Called when something of a pod is news that a pass has to know of. */
  readonly wake: (key: string) => void;
  /** A clock that never jumps, in milliseconds. */
  readonly now: () => number;
  /** In milliseconds since 1970. */
  readonly date: () => number;
  readonly random: () => number;
  /** Between two calls to a pod. */
  readonly everyMilliseconds?: number;
  /** Calls at the same time. */
  readonly concurrency?: number;
}

interface Followed {
  pod: LinkedPod;
  state: LinkState;
  session: { readonly greeting: LinkGreeting; readonly at: number } | undefined;
  sequence: number;
  /** Calls in a row that failed. */
  failures: number;
  isSpread: boolean;
  /** Whether it is called: one that serves no more is not. */
  isActive: boolean;
}

/** Where counts are kept by intervals, a pod is called so often in each. */
const callsInInterval = 3;

/** A pod that is called in vain so often in a row is not linked: a single lost call is no news. */
const patience = 3;

/** What a signature that names the newest greeting is not refused for. */
const outdated: ReadonlySet<Refusal> = new Set(['Misdirected', 'Replayed', 'Late']);

/** Whoever answers more slowly than this, or not at all, waits in a lane of its own, so that nobody else waits for it. */
const slowMilliseconds = 500;
const slowConcurrency = 4;
/** A pod that is not linked is called ever more rarely. */
const mostQuiet = 30;

export function createPodLink(options: PodLinkOptions): PodLink {
  const { call, keys, wake, now, date, random, everyMilliseconds = 10_000, concurrency = 16 } = options;
  const followed = new Map<string, Followed>();
  const totals = new Map<string, MeasuresTotal>();
  const orders = new Map<string, LinkOrder>();
  const recordings = new Map<string, Recording>();
  const clock: Clock = { now, schedule: (milliseconds, work) => cancelOf(setTimeout(work, milliseconds)) };
  const lanes = { prompt: new WorkQueue(clock, random), slow: new WorkQueue(clock, random) };
  // A table outlives some calls that are lost.
  const holdsSeconds = Math.ceil((everyMilliseconds * 3) / 1000);

  const post = async (entry: Followed, body: LinkCall): Promise<LinkAnswer> => {
    const answer = parseLinkAnswer(await call(entry.pod, routes.link, body));
    entry.session = { greeting: answer, at: now() };
    return answer;
  };
  const signedFor = (entry: Followed, key: LinkKey): SignedTable | undefined => {
    const { session, pod } = entry;
    if (session === undefined) return undefined;
    const clock = session.greeting.clock + (now() - session.at);
    // By the pod's own clock, which is the same for every leader: a new one goes on where the last one was.
    entry.sequence = Math.max(entry.sequence + 1, Math.floor(clock));
    const claims: TableClaims = {
      // Of the pod that was meant, whoever has answered at its address.
      pod: pod.uid,
      nonce: session.greeting.nonce,
      sequence: entry.sequence,
      clock,
      holdsSeconds,
      table: orders.get(pod.model)?.table ?? {},
    };
    const payload = JSON.stringify(claims);
    return { key: key.id, payload, signature: sign(null, Buffer.from(payload), key.privateKey).toString('base64') };
  };
  const callSigned = async (entry: Followed): Promise<LinkAnswer> => {
    let answer: LinkAnswer | undefined;
    for (const key of keys()) {
      const table = signedFor(entry, key);
      if (table === undefined) break;
      answer = await post(entry, { version: linkVersion, table });
      if (answer.kind !== 'refused' || answer.refusal !== 'UnknownKey') return answer;
    }
    return answer ?? post(entry, { version: linkVersion });
  };
  /** A pod that is called the first time, or whose container is another one, is greeted before it takes a table. */
  const converse = async (entry: Followed): Promise<LinkAnswer> => {
    const answer = await callSigned(entry);
    const isOutdated = answer.kind === 'refused' && outdated.has(answer.refusal);
    return answer.kind === 'greeting' || isOutdated ? callSigned(entry) : answer;
  };

  const become = (entry: Followed, state: LinkState) => {
    const isNews = newsOf(entry.state) !== newsOf(state);
    entry.state = state;
    if (isNews) wake(entry.pod.key);
  };
  const heard = (entry: Followed, answer: LinkAnswer) => {
    if (answer.kind !== 'figures') {
      entry.failures++;
      const isUnknown = answer.kind === 'refused' && answer.refusal === 'UnknownKey';
      return become(entry, { kind: 'unlinked', why: isUnknown ? 'KeyUnknown' : 'Refuses' });
    }
    entry.failures = 0;
    const { revision, model, measures, passedOn, table } = answer;
    const total = totals.get(entry.pod.model) ?? new MeasuresTotal();
    totals.set(entry.pod.model, total);
    total.tell(entry.pod.uid, answer.nonce, measures);
    const figures = { revision, model, measures, passedOn, table };
    recordings.get(entry.pod.model)?.tell(entry.pod.uid, answer.nonce, figures, date());
    become(entry, { kind: 'linked', figures });
  };
  const failed = (entry: Followed, error: unknown) => {
    // 404 and the like, or another answer than a pod of ours gives: whoever listens there knows no link.
    const isStranger = error instanceof NotALink || (error instanceof PodAnswer && error.status < 500);
    entry.failures++;
    if (isStranger) become(entry, { kind: 'unlinked', why: 'NoLink' });
    else if (entry.failures >= patience) become(entry, { kind: 'unlinked', why: 'Unreachable' });
  };

  const intervalOf = ({ pod: { model } }: Followed): number => {
    const { isUrgent = false, intervalSeconds } = orders.get(model) ?? {};
    if (!isUrgent || intervalSeconds === undefined) return everyMilliseconds;
    return Math.min(everyMilliseconds, (intervalSeconds * 1000) / callsInInterval);
  };

  const visit = async (uid: string) => {
    const entry = followed.get(uid);
    if (entry === undefined || !entry.isActive) return {};
    const start = now();
    try {
      const answer = await converse(entry);
      // It may have been forgotten meanwhile.
      if (followed.get(uid) === entry) heard(entry, answer);
    } catch (error) {
      failed(entry, error);
    }
    const lane = entry.failures > 0 || now() - start > slowMilliseconds ? 'slow' : 'prompt';
    const quiet = Math.min(mostQuiet, 2 ** Math.max(0, entry.failures - patience));
    // However many pods were first seen at once, their later calls are spread over the whole interval.
    const share = entry.isSpread ? 0.9 + random() / 5 : 0.1 + 0.9 * random();
    entry.isSpread = true;
    if (followed.get(uid) === entry && entry.isActive)
      lanes[lane].add(uid, { afterMilliseconds: intervalOf(entry) * quiet * share });
    return {};
  };

  return {
    follow(pod) {
      const known = followed.get(pod.uid);
      if (known !== undefined) {
        known.pod = pod;
        if (!known.isActive) lanes.prompt.add(pod.uid);
        known.isActive = true;
        return known.state;
      }
      followed.set(pod.uid, {
        pod,
        state: { kind: 'pending' },
        session: undefined,
        sequence: 0,
        failures: 0,
        isSpread: false,
        isActive: true,
      });
      lanes.prompt.add(pod.uid);
      return { kind: 'pending' };
    },
    rest(uid) {
      const entry = followed.get(uid);
      if (entry !== undefined) entry.isActive = false;
    },
    forget(uid) {
      const entry = followed.get(uid);
      followed.delete(uid);
      if (entry === undefined) return;
      totals.get(entry.pod.model)?.end(uid);
      recordings.get(entry.pod.model)?.end(uid);
    },
    tell(model, order) {
      const before = orders.get(model);
      orders.set(model, order);
      const { intervalSeconds, hasLatency } = order;
      const recording = recordings.get(model);
      if (intervalSeconds === undefined) recordings.delete(model);
      else if (recording?.intervalSeconds !== intervalSeconds || recording.hasLatency !== hasLatency)
        recordings.set(model, new Recording(intervalSeconds, hasLatency, date()));
      const isNew = JSON.stringify(before?.table ?? {}) !== JSON.stringify(order.table);
      if (!isNew && before?.isUrgent === order.isUrgent) return;
      for (const [uid, { pod, isActive }] of followed) if (pod.model === model && isActive) lanes.prompt.add(uid);
    },
    seriesOf: (model) => recordings.get(model)?.series ?? [],
    countedSince: (model) => recordings.get(model)?.since,
    measuresOf: (model) => totals.get(model)?.now ?? noMeasures,
    forgetModel(model) {
      totals.delete(model);
      orders.delete(model);
      recordings.delete(model);
      // Its pods end by themselves, and are of no interest any more.
      for (const [uid, { pod }] of followed) if (pod.model === model) followed.delete(uid);
    },
    get followed() {
      return followed.size;
    },
    async run() {
      const common = { work: visit, onError: () => undefined };
      await Promise.all([
        runWorkers({ queue: lanes.prompt, workers: concurrency, ...common }),
        runWorkers({ queue: lanes.slow, workers: slowConcurrency, ...common }),
      ]);
    },
    close() {
      for (const lane of Object.values(lanes)) lane.close();
    },
  };
}

function cancelOf(timer: NodeJS.Timeout): () => void {
  return () => clearTimeout(timer);
}

/** What of a state a pass has to know of: figures change with every call. */
function newsOf(state: LinkState): string {
  switch (state.kind) {
    case 'pending':
      return state.kind;
    case 'unlinked':
      return state.why;
    case 'linked': {
      const { model, table, passedOn } = state.figures;
      return JSON.stringify([model ?? 'no model yet', table?.table ?? {}, passedOn !== undefined]);
    }
  }
}

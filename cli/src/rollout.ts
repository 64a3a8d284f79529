import { printable } from './kubectl.ts';

/** What is shown of a rollout, read from what kubectl prints: nothing of it is taken for granted. */
export interface Rollout {
  readonly name: string;
  readonly namespace: string;
  /** In a word or two, as `kubectl get mdeploy` has it. */
  readonly message: string;
  readonly ready: boolean;
  readonly why: string;
  readonly serving: Track;
  readonly canary: CanaryTrack | undefined;
  /** The revision that the spec asks for. */
  readonly updateRevision: string;
  readonly history: readonly HistoryEntry[];
  readonly events: readonly RolloutEvent[];
}

export interface Track {
  readonly revision: string;
  readonly version: string;
  readonly ready: number;
  readonly pods: number;
}

export interface CanaryTrack extends Track {
  readonly state: string;
  readonly step: number;
  readonly steps: number;
  readonly weight: number;
  readonly since: string;
  readonly holdSeconds: number | undefined;
  readonly isPaused: boolean;
  readonly waitsFor: string;
  readonly gates: readonly Gate[];
}

export interface Gate {
  readonly gate: string;
  readonly verdict: string;
  readonly requests: number;
  readonly value: string;
  readonly lower: string;
  readonly upper: string;
  /** Why nothing could be measured. */
  readonly message: string;
}

export interface HistoryEntry {
  readonly number: number;
  readonly revision: string;
  readonly version: string;
  readonly healthySince: string;
}

export interface RolloutEvent {
  readonly time: string;
  readonly reason: string;
  readonly message: string;
}

/** A value as it came, of which a field may be anything. */
class Value {
  readonly #value: unknown;

  constructor(value: unknown) {
    this.#value = value;
  }

  at(...path: readonly string[]): Value {
    let value = this.#value;
    for (const name of path) {
      value = typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
    }
    return new Value(value);
  }

  get isThere(): boolean {
    return this.#value !== undefined && this.#value !== null;
  }

  get text(): string {
    return typeof this.#value === 'string' ? printable(this.#value) : '';
  }

  get number(): number {
    return typeof this.#value === 'number' ? this.#value : 0;
  }

  get list(): readonly Value[] {
    return Array.isArray(this.#value) ? this.#value.map((item: unknown) => new Value(item)) : [];
  }
}

const labels = { track: 'serving.slipway.dev/track' };
/** Of events, the newest so many. */
const mostEvents = 5;
const defaultSteps = 3;

/**
 * @param model the ModelDeployment
 * @param pods the list of its pods
 * @param events the list of events about it
 */
export function readRollout(model: unknown, pods: unknown, events: unknown): Rollout {
  const object = new Value(model);
  const status = object.at('status');
  const history = status.at('history').list.map((entry) => ({
    number: entry.at('number').number,
    revision: entry.at('revision').text,
    version: entry.at('modelVersion').text,
    healthySince: entry.at('healthySince').text,
  }));
  const ready = status.at('conditions').list.find((condition) => condition.at('type').text === 'Ready');
  const record = status.at('rollout', 'canary');
  const versionOf = (revision: string) => history.find((entry) => entry.revision === revision)?.version ?? '';
  const track = (revision: string, name: string): Track => {
    const own = new Value(pods).at('items').list.filter((pod) => isOf(pod, name));
    return { revision, version: versionOf(revision), ready: own.filter(isReady).length, pods: own.length };
  };
  return {
    name: object.at('metadata', 'name').text,
    namespace: object.at('metadata', 'namespace').text,
    message: status.at('rollout', 'message').text,
    ready: ready?.at('status').text === 'True',
    why: ready?.at('message').text ?? '',
    serving: track(status.at('currentRevision').text, 'stable'),
    canary: record.isThere ? canaryOf(object, record, track(record.at('revision').text, 'canary')) : undefined,
    updateRevision: status.at('updateRevision').text,
    history,
    events: eventsOf(new Value(events)),
  };
}

function canaryOf(model: Value, record: Value, track: Track): CanaryTrack {
  const rollout = model.at('spec', 'rollout');
  const step = record.at('step').number;
  const isBlueGreen = rollout.at('strategy').text === 'BlueGreen';
  const steps = rollout.at('canary', 'steps').list;
  const holdSeconds = steps[step - 1]?.at('holdSeconds');
  return {
    ...track,
    state: record.at('state').text,
    step,
    steps: isBlueGreen ? 2 : steps.length || defaultSteps,
    weight: record.at('weight').number,
    since: record.at('time').text,
    holdSeconds: holdSeconds?.isThere === true ? holdSeconds.number : undefined,
    isPaused: record.at('paused').isThere,
    waitsFor: record.at('message').text,
    gates: record.at('measurements').list.map((gate) => ({
      gate: gate.at('gate').text,
      verdict: gate.at('verdict').text,
      requests: gate.at('requests').number,
      value: gate.at('value').text,
      lower: gate.at('lower').text,
      upper: gate.at('upper').text,
      message: gate.at('message').text,
    })),
  };
}

/** Pods that end are none of a track any more. */
function isOf(pod: Value, track: string): boolean {
  const isEnding = pod.at('metadata', 'deletionTimestamp').isThere;
  return !isEnding && pod.at('metadata', 'labels', labels.track).text === track;
}

function isReady(pod: Value): boolean {
  return pod
    .at('status', 'conditions')
    .list.some((condition) => condition.at('type').text === 'Ready' && condition.at('status').text === 'True');
}

function eventsOf(list: Value): readonly RolloutEvent[] {
  return list
    .at('items')
    .list.map((event) => ({
      time:
        event.at('eventTime').text || event.at('lastTimestamp').text || event.at('metadata', 'creationTimestamp').text,
      reason: event.at('reason').text,
      message: event.at('message').text || event.at('note').text,
    }))
    .toSorted((a, b) => a.time.localeCompare(b.time))
    .slice(-mostEvents);
}

import type { GoldenVerdict } from '../../../contract/src/link.ts';
import type { ModelReport } from '../../../contract/src/model-report.ts';
import type { Scheduler } from '../execution/scheduler.ts';
import type { Handler } from '../handler/handler.ts';

/** A model that can be asked. */
export interface ServedModel {
  readonly scheduler: Scheduler;
  /** Undefined for a model without one. */
  readonly handler: Handler | undefined;
  /** The models that only the handler runs, in the order in which it was told of them. */
  readonly handledModels: readonly Scheduler[];
  readonly report: ModelReport;
  /** What its URI has led to, where that may move. */
  readonly resolvedUri: string | undefined;
  /** Of the same, what is told of it while it serves. */
  readonly movedTo: () => string | undefined;
  /** The fingerprint of the key that has signed it; undefined where no signature was asked for. */
  readonly signedBy: string | undefined;
  /** Undefined when there is no golden set. */
  readonly goldenSet: GoldenVerdict | undefined;
}

/** What the pod does now. */
export type PodState =
  | { readonly kind: 'loading' }
  | { readonly kind: 'serving'; readonly model: ServedModel }
  /** Told to end: it answers what still comes, and is not ready. */
  | { readonly kind: 'draining'; readonly model: ServedModel }
  | { readonly kind: 'ended' };

/** What can happen to it. */
export type PodEvent =
  | { readonly kind: 'loaded'; readonly model: ServedModel }
  /** A signal, or the end of a preflight. */
  | { readonly kind: 'told to end' }
  | { readonly kind: 'drained' }
  | { readonly kind: 'failed' };

/** What follows on a state; the same state where an event means nothing in it. */
export function nextState(state: PodState, event: PodEvent): PodState {
  switch (event.kind) {
    case 'loaded':
      return state.kind === 'loading' ? { kind: 'serving', model: event.model } : state;
    case 'told to end':
      if (state.kind === 'loading') return { kind: 'ended' };
      return state.kind === 'serving' ? { kind: 'draining', model: state.model } : state;
    case 'drained':
    case 'failed':
      return { kind: 'ended' };
  }
}

/** Of the model itself, and of those that only its handler runs. */
export function schedulersOf({ scheduler, handledModels }: ServedModel): readonly [Scheduler, ...Scheduler[]] {
  return [scheduler, ...handledModels];
}

/** The life of one pod. */
export class Lifecycle {
  #state: PodState = { kind: 'loading' };

  get state(): PodState {
    return this.#state;
  }

  /** The model, while it can be asked. */
  get model(): ServedModel | undefined {
    return this.#state.kind === 'serving' || this.#state.kind === 'draining' ? this.#state.model : undefined;
  }

  get isReady(): boolean {
    return this.#state.kind === 'serving' && schedulersOf(this.#state.model).every(({ isAble }) => isAble);
  }

  /** @returns whether the state changed */
  happened(event: PodEvent): boolean {
    const before = this.#state;
    this.#state = nextState(before, event);
    return this.#state !== before;
  }
}

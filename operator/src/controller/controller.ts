import { labels } from '../api/names.ts';
import type { ChildKind } from '../desired/children.ts';
import type { KubeObject } from '../kube/objects.ts';
import { controllerOf, keyOf } from '../kube/objects.ts';
import { WorkQueue } from '../kube/queue.ts';
import { runWorkers } from '../kube/runner.ts';
import type { Change, Store } from '../kube/store.ts';
import type { Metrics } from '../metrics.ts';
import type { LiveChild } from '../observed.ts';
import { type ReconcileOptions, reconcile } from './reconcile.ts';

export interface ControllerOptions extends ReconcileOptions {
  readonly workers: number;
  readonly metrics: Metrics;
}

/** Connects the caches to the queue and the queue to the passes. */
export class Controller {
  readonly #options: ControllerOptions;
  readonly queue = new WorkQueue();
  #leading = false;

  constructor(options: ControllerOptions) {
    this.#options = options;
    const { caches, resistance, refusals, occupied, reports } = options;
    caches.models.onChange(({ before, after }) => {
      const object = after ?? before;
      if (object === undefined) return;
      if (before?.metadata.generation !== after?.metadata.generation) {
        resistance.forget(keyOf(object));
        refusals.forget(keyOf(object));
        if (after === undefined) occupied.forget(keyOf(object));
      }
      this.#enqueue(keyOf(object), before === undefined ? 'low' : 'high');
    });
    this.#followChild('Deployment', caches.Deployment);
    this.#followChild('Service', caches.Service);
    this.#followChild('HorizontalPodAutoscaler', caches.HorizontalPodAutoscaler);
    this.#followChild('PodDisruptionBudget', caches.PodDisruptionBudget);
    this.#follow(caches.revisions);
    this.#follow(caches.replicaSets);
    this.#follow(caches.pods);
    caches.pods.onChange(({ before, after }) => {
      if (before !== undefined && after === undefined) reports.forget(before.metadata.uid);
    });
  }

  /** Works until the queue is closed. The caches are synced, and this process is the leader. */
  async run(): Promise<void> {
    const { caches, log, metrics, workers } = this.#options;
    this.#leading = true;
    for (const key of caches.models.keys()) this.queue.add(key, { priority: 'low' });
    await runWorkers({
      queue: this.queue,
      workers,
      work: (key) => metrics.timePass(() => reconcile(key, this.#options)),
      onError: (key, error) => {
        const [namespace, name] = key.split('/');
        log.error({ namespace, name, err: error }, 'a pass failed; it will be tried again');
      },
    });
  }

  #enqueue(key: string, priority: 'high' | 'low'): void {
    if (this.#leading) this.queue.add(key, { priority });
  }

  #follow<T extends KubeObject>(store: Store<T>): void {
    store.onChange((change) => this.#enqueueOwner(change));
  }

  #followChild<T extends LiveChild<unknown>>(child: ChildKind, store: Store<T>): void {
    store.onChange((change) => {
      const object = change.after ?? change.before;
      if (object !== undefined) this.#options.resistance.objectChanged(keyOf(object), child, change.after);
      this.#enqueueOwner(change);
    });
  }

  /** Children, ReplicaSets and pods all carry the name of their ModelDeployment; a child says it as its owner as well. */
  #enqueueOwner<T extends KubeObject>({ before, after }: Change<T>): void {
    for (const object of [before, after]) {
      if (object === undefined) continue;
      const controller = controllerOf(object);
      const names = [
        object.metadata.labels?.[labels.modelDeployment],
        controller?.kind === 'ModelDeployment' ? controller.name : undefined,
      ];
      for (const name of names) {
        if (name !== undefined) this.#enqueue(`${object.metadata.namespace}/${name}`, 'high');
      }
    }
  }
}

import { labels } from '../api/names.ts';
import { childKinds, childName, childResources } from '../desired/children.ts';
import type { KubeObject } from '../kube/objects.ts';
import { controllerOf, keyOf } from '../kube/objects.ts';
import { WorkQueue } from '../kube/queue.ts';
import { runWorkers } from '../kube/runner.ts';
import type { Change, Store } from '../kube/store.ts';
import type { Metrics } from '../metrics.ts';
import type { LiveChild } from '../observed.ts';
import { scaledKey } from './caches.ts';
import { isReady } from './live-objects.ts';
import { forgetQueries } from './observe-queries.ts';
import type { PassOptions } from './pass-options.ts';
import { reconcile } from './reconcile.ts';

export interface ControllerOptions extends PassOptions {
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
    const { caches, memory, inquiries, link, metrics, queries } = options;
    caches.models.onChange(({ before, after }) => {
      const object = after ?? before;
      if (object === undefined) return;
      if (before !== undefined && before.metadata.uid !== after?.metadata.uid) {
        memory.forget(before);
        link.forgetModel(before.metadata.uid);
        forgetQueries(before, queries);
        metrics.setCanary(before.metadata, undefined);
      } else if (before?.metadata.generation !== after?.metadata.generation) memory.of(object).specChanged();
      this.#enqueue(keyOf(object), 'high');
    });
    this.#followChildren('ConfigMap', caches.ConfigMap);
    this.#followChildren('Deployment', caches.Deployment);
    this.#followChildren('Service', caches.Service);
    this.#followChildren('HorizontalPodAutoscaler', caches.HorizontalPodAutoscaler);
    this.#followChildren('PodDisruptionBudget', caches.PodDisruptionBudget);
    this.#follow(caches.revisions);
    this.#follow(caches.replicaSets);
    this.#follow(caches.pods);
    caches.HorizontalPodAutoscaler.onChange(({ before, after }) => {
      for (const autoscaler of [before, after]) if (autoscaler !== undefined) this.#enqueueModel(scaledKey(autoscaler));
    });
    caches.pods.onChange(({ before, after }) => {
      if (after !== undefined && !isReady(after)) link.rest(after.metadata.uid);
      // What it was busy with before it served is of no interest when it does not any more.
      if (after !== undefined && isReady(after)) inquiries.loading.forget(after.metadata.uid);
      if (before === undefined || after !== undefined) return;
      link.forget(before.metadata.uid);
      inquiries.reports.forget(before.metadata.uid);
      inquiries.loading.forget(before.metadata.uid);
      inquiries.mountFailures.forget(before.metadata.uid);
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

  /** Looks at every ModelDeployment again: what all of them are made by has changed. */
  enqueueAll(): void {
    for (const key of this.#options.caches.models.keys()) this.#enqueue(key, 'low');
  }

  #enqueue(key: string, priority: 'high' | 'low'): void {
    if (this.#leading) this.queue.add(key, { priority });
  }

  /** Makes a pass over a ModelDeployment, at once or later. */
  wake(key: string, afterMilliseconds: number): void {
    if (this.#leading) this.queue.add(key, { afterMilliseconds, priority: afterMilliseconds === 0 ? 'high' : 'low' });
  }

  /** What belongs to no ModelDeployment that there is needs no pass. */
  #enqueueModel(key: string): void {
    if (this.#options.caches.models.get(key) !== undefined) this.#enqueue(key, 'high');
  }

  #follow<T extends KubeObject>(store: Store<T>): void {
    store.onChange((change) => this.#enqueueOwner(change));
  }

  #followChildren<T extends LiveChild<unknown>>(kind: string, store: Store<T>): void {
    const children = childKinds.filter((child) => childResources[child].kind === kind);
    store.onChange((change) => {
      const object = change.after ?? change.before;
      const owner = object?.metadata.labels?.[labels.modelDeployment];
      const model = this.#options.caches.models.get(`${object?.metadata.namespace}/${owner}`);
      if (model !== undefined) {
        const child = children.find((one) => childName(one, model.metadata.name) === object?.metadata.name);
        if (child !== undefined) this.#options.memory.of(model).childChanged(child, change.after);
      }
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
        if (name !== undefined) this.#enqueueModel(`${object.metadata.namespace}/${name}`);
      }
    }
  }
}

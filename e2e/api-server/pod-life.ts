import { podResource } from '../../operator/src/controller/caches.ts';
import { prefetchTrack } from '../../operator/src/desired/prefetch-pod.ts';
import type { KubeObject } from '../../operator/src/kube/objects.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { reflect } from '../../operator/src/kube/reflector.ts';
import { Store } from '../../operator/src/kube/store.ts';
import { type AnyObject, testClient } from './test-cluster.ts';

/** Pods of versions that begin so never become ready. */
export const brokenVersion = 'broken';

/**
 * Plays the part of kubelets, which these tests have none of: pods become ready as soon as they are made, those that only fetch a model end
 * well, and one that has a node is gone as soon as it is to go.
 */
export function startPodLife(): { stop(): void } {
  const client = testClient();
  const pods = new Store<AnyObject>();
  const stop = new AbortController();
  pods.onChange(({ after }) => {
    if (after === undefined) return;
    const { namespace, name, labels, deletionTimestamp } = after.metadata;
    if (deletionTimestamp !== undefined) {
      if (after.spec.nodeName === undefined) return;
      const body = { gracePeriodSeconds: 0 };
      // Whoever asked for it may have taken it away by now.
      void client.call('DELETE', pathOf(podResource, namespace, name), { body }).catch(() => undefined);
      return;
    }
    const phase = labels?.['serving.slipway.dev/track'] === prefetchTrack ? 'Succeeded' : 'Running';
    if (after.status?.phase === phase) return;
    if (labels?.['app.kubernetes.io/version']?.startsWith(brokenVersion) === true) return;
    const conditions = phase === 'Running' ? [{ type: 'Ready', status: 'True' }] : [];
    void client
      .call('PATCH', pathOf(podResource, namespace, name, 'status'), {
        contentType: 'application/merge-patch+json',
        body: { status: { phase, conditions } },
      })
      // Pods go as fast as they come here.
      .catch(() => undefined);
  });
  void reflect(
    {
      client,
      path: pathOf(podResource),
      labelSelector: 'serving.slipway.dev/model-deployment',
      store: pods,
      prepare: (object: KubeObject) => object,
      onError: () => undefined,
      random: Math.random,
    },
    stop.signal,
  );
  return { stop: () => stop.abort() };
}

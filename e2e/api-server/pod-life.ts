import { podResource } from '../../operator/src/controller/caches.ts';
import type { KubeObject } from '../../operator/src/kube/objects.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { reflect } from '../../operator/src/kube/reflector.ts';
import { Store } from '../../operator/src/kube/store.ts';
import { type AnyObject, testClient } from './test-cluster.ts';

/** Pods of versions that begin so never become ready. */
export const brokenVersion = 'broken';

/** Plays the part of the nodes, which these tests have none of: pods become ready as soon as they are made. */
export function startPodLife(): { stop(): void } {
  const client = testClient();
  const pods = new Store<AnyObject>();
  const stop = new AbortController();
  pods.onChange(({ after }) => {
    if (after === undefined || after.metadata.deletionTimestamp !== undefined || after.status?.phase === 'Running')
      return;
    if (after.metadata.labels?.['app.kubernetes.io/version']?.startsWith(brokenVersion) === true) return;
    void client
      .call('PATCH', pathOf(podResource, after.metadata.namespace, after.metadata.name, 'status'), {
        contentType: 'application/merge-patch+json',
        body: { status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] } },
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

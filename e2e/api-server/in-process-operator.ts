import { pino } from 'pino';
import { isNotFound, messageOf } from '../../operator/src/kube/errors.ts';
import { runOperator } from '../../operator/src/operator.ts';
import { eventually } from '../eventually.ts';
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts';
import { grantLease } from './operator-rights.ts';
import { testClient } from './test-cluster.ts';

/** An operator of one namespace in this process, which reaches the API server through a proxy of its own. */
export interface InProcessOperator {
  readonly proxy: FaultProxy;
  /** Waits until it has written nothing for half a second. */
  quiet(): Promise<void>;
  /** As if the process were killed: nothing leaves it any more, and it gives nothing up. */
  crash(): Promise<void>;
  stop(): Promise<void>;
}

/** @param prepare sets the proxy up before the operator sends its first request */
export async function startInProcessOperator(
  namespace: string,
  prepare: (proxy: FaultProxy) => void = () => undefined,
  inferenceImage = 'example/slipway:1',
): Promise<InProcessOperator> {
  await grantLease(testClient(), namespace);
  // An operator that was killed has left its lease behind, which would be waited for.
  await deleteLease(namespace);
  const proxy = await startFaultProxy();
  prepare(proxy);
  const stop = new AbortController();
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line) => void lines.push(line) });
  const settings = {
    kubeconfig: proxy.kubeconfig,
    namespace,
    leaseNamespace: namespace,
    inferenceImage,
    workers: 4,
    port: 0,
    version: 'test',
  };
  const ended = runOperator(settings, log, stop.signal).then(
    (told) => (told ? 'told' : 'the lease was lost'),
    (error: unknown) => messageOf(error),
  );
  const deadline = Date.now() + 30_000;
  while (!lines.some((line) => line.includes('"msg":"leading"'))) {
    if (Date.now() > deadline) throw new Error(`the operator does not lead: ${lines.join('')}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return {
    proxy,
    async quiet() {
      let [last, since] = [proxy.writes.length, performance.now()];
      const millisecondsOfQuiet = async () => {
        if (proxy.writes.length !== last) [last, since] = [proxy.writes.length, performance.now()];
        return performance.now() - since;
      };
      await eventually(millisecondsOfQuiet, (quiet) => quiet > 1000, { seconds: 60 });
    },
    async crash() {
      await proxy.close();
      stop.abort();
      await ended;
    },
    async stop() {
      stop.abort();
      const why = await ended;
      await proxy.close();
      if (why !== 'told') throw new Error(`the operator ended by itself: ${why}\n${lines.slice(-10).join('')}`);
    },
  };
}

async function deleteLease(namespace: string): Promise<void> {
  try {
    await testClient().call('DELETE', `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/slipway-operator`);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

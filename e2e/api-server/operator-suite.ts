import { afterAll, beforeAll, expect } from '@jest/globals';
import { type ChildKind, childName, childResources } from '../../operator/src/desired/children.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { modelDeployments } from './model-deployments.ts';
import { type OperatorOptions, type RunningOperator, startOperator } from './running-operator.ts';
import { type AnyObject, makeNamespace, newNamespaceName, testClient } from './test-cluster.ts';

/** A namespace and an operator for the tests of one file; the operator has to end well. */
export function operatorSuite() {
  const client = testClient();
  const kubectl = testClient('kubectl/v1.37.2');
  const namespace = newNamespaceName();
  let current: RunningOperator | undefined;
  const running = () => {
    if (current === undefined) throw new Error('no operator runs');
    return current;
  };
  beforeAll(async () => {
    await makeNamespace(client, {}, namespace);
    current = await startOperator();
  });
  afterAll(async () => {
    expect(await current?.stop()).toBe(0);
  });
  return {
    client,
    namespace,
    models: modelDeployments(client, namespace),
    operator: {
      writesFor: (name: string) => running().writesFor(namespace, name),
      async restart(options: OperatorOptions = {}) {
        expect(await running().stop()).toBe(0);
        current = await startOperator(options);
      },
      /** Kills the one that leads; another, which waits for the lease, takes its place. */
      async killAndReplaceBy(other: Promise<RunningOperator>) {
        await running().kill();
        current = await other;
      },
      /** Does something while no operator is there. */
      async pausedFor(work: () => Promise<void>) {
        expect(await running().stop()).toBe(0);
        try {
          await work();
        } finally {
          current = await startOperator();
        }
      },
      /** Ends the one that leads; another, which waits for the lease, takes its place. */
      async replaceBy(other: Promise<RunningOperator>) {
        expect(await running().stop()).toBe(0);
        current = await other;
      },
    },
    /** Changes an object as a person with kubectl would. */
    edit(
      kind: ChildKind,
      name: string,
      body: object,
      contentType = 'application/strategic-merge-patch+json',
    ): Promise<AnyObject> {
      return kubectl.call('PATCH', pathOf(childResources[kind], namespace, childName(kind, name)), {
        body,
        contentType,
      });
    },
  };
}

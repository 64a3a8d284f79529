import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { modelDeployments } from './model-deployments.ts';
import { grantRightsInOneNamespace } from './operator-rights.ts';
import { startOperator } from './running-operator.ts';
import { makeNamespace, testClient, testKubeconfig } from './test-cluster.ts';

test('an operator of one namespace works with rights in that alone, and leaves all others be', async () => {
  const client = testClient();
  const [watched, other] = [await makeNamespace(client), await makeNamespace(client)];
  const kubeconfig = await grantRightsInOneNamespace(client, testKubeconfig(), watched);
  const operator = await startOperator({ namespace: watched, kubeconfig });
  try {
    await modelDeployments(client, other).create('left');
    const models = modelDeployments(client, watched);
    await models.create('mine', { replicas: 2 });
    await models.settled('mine');
    await models.patch('mine', { model: { version: '2' } });
    await models.condition('mine', 'UpToDate', ({ observedGeneration }) => observedGeneration === 2);
    await sleep(500);
    expect(await modelDeployments(client, other).child('Deployment', 'left')).toBeUndefined();
    expect(operator.logs.filter(({ reason }) => String(reason).includes('forbidden'))).toEqual([]);
  } finally {
    expect(await operator.stop()).toBe(0);
  }
});

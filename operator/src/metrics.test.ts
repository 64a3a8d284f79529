import { expect, test } from '@jest/globals';
import { createMetrics } from './metrics.ts';

test('a canary is told of for as long as there is one, with what each gate finds', async () => {
  const metrics = createMetrics(
    () => 0,
    () => 1,
  );
  const model = { namespace: 'n', name: 'iris' };
  const measurement = { gate: 'ErrorRate at most 1%', verdict: 'Passed' as const, requests: 1200, value: '0.5%' };
  const lines = async () =>
    (await metrics.exposition()).split('\n').filter((line) => line.startsWith('slipway_canary'));
  metrics.setCanary(model, undefined);
  expect(await lines()).toEqual([]);
  metrics.setCanary(model, { weight: 5, measured: [measurement] });
  expect(await lines()).toEqual([
    'slipway_canary_weight_percent{namespace="n",name="iris"} 5',
    'slipway_canary_gate{namespace="n",name="iris",gate="ErrorRate at most 1%",of="value"} 0.005',
    'slipway_canary_gate{namespace="n",name="iris",gate="ErrorRate at most 1%",of="requests"} 1200',
  ]);
  metrics.setCanary(model, { weight: 50, measured: [] });
  expect(await lines()).toEqual(['slipway_canary_weight_percent{namespace="n",name="iris"} 50']);
  metrics.setCanary(model, undefined);
  expect(await lines()).toEqual([]);
});

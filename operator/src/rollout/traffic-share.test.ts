import { expect, test } from '@jest/globals';
import { maxCallBytes } from '../../../contract/src/link.ts';
import { mostCanaryPods, shareOf } from '../../../contract/src/traffic.ts';
import type { Gate, ModelDeploymentSpec } from '../api/model-deployment.ts';
import { CanaryLife } from '../testing/canary-life.ts';
import { settle } from '../testing/simulation.ts';
import { pod } from '../testing/test-objects.ts';
import { afterVersions, asking } from '../testing/versions.ts';
import { tableFor } from './traffic-share.ts';

test('the largest share fits into a call, and is read as it was meant', () => {
  const outputs = Array.from({ length: 16 }, (_, index) => ({
    name: '"'.repeat(120) + index,
    compare: 'Tolerance' as const,
    absolute: '1e-99',
    relative: '999999999999999e99',
  }));
  const gates: Gate[] = [{ metric: 'Agreement', min: '98%', outputs }];
  const stickyBy = { header: 'x'.repeat(128) };
  const rollout: ModelDeploymentSpec['rollout'] = {
    strategy: 'Canary',
    canary: { steps: [{ weight: 50, hold: 'Manual' }], mirrorPercent: 100, stickyBy },
    analysis: { gates },
  };
  const before = afterVersions('1', '2');
  const life = new CanaryLife(
    settle(asking(before, '2', { replicas: 2, rollout, validation: { contract: 'Ignore' } })).state,
  ).ask('3');
  const { canary } = life;
  const { revisions } = life.state;
  const target = revisions.find(({ metadata }) => metadata.name === canary?.revision);
  const stable = revisions.find(({ metadata }) => metadata.name === canary?.stableRevision);
  if (canary === undefined || target === undefined || stable === undefined) throw new Error('there is no canary');
  const conditions = [{ type: 'Ready', status: 'True' as const }];
  const ip = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff';
  const canaryPods = Array.from({ length: 300 }, (_, index) =>
    pod(`canary-${index}`, target.metadata.name, { ready: true }, { conditions, ip }),
  );
  const table = tableFor({ ...life.state, canaryPods }, { target, stable, record: canary });
  const share = shareOf(table);
  expect(share?.pods).toHaveLength(mostCanaryPods);
  expect(share?.mirror?.outputs).toHaveLength(16);
  // Signed as a text, which is a part of another; the rest of a call is less than a KiB.
  expect(Buffer.byteLength(JSON.stringify(JSON.stringify({ table })))).toBeLessThan(maxCallBytes - 1024);
});

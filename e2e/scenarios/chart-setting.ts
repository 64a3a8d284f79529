import { join } from 'node:path';
import { repository } from '../cluster/cache.ts';
import type { Scenario } from './scenario.ts';

const namespace = ['-n', 'slipway-system'];

/** Changes one value of the installed chart, as NAME=VALUE, and waits for the operator that has it. */
export async function setInChart(scenario: Scenario, value: string): Promise<void> {
  const chart = join(repository, 'charts/slipway');
  await scenario.helm(['upgrade', 'slipway', chart, ...namespace, '--reuse-values', '--set', value]);
  await scenario.kubectl([...namespace, 'rollout', 'status', 'deployment/slipway-operator', '--timeout=120s']);
}

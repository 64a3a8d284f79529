import type { Table } from '../../../contract/src/link.ts';
import { ports } from '../../../contract/src/ports.ts';
import { type Mirror, mostCanaryPods, shareOf, type TrafficShare, trafficPart } from '../../../contract/src/traffic.ts';
import { canaryPolicyOf, type ModelDeploymentSpec } from '../api/model-deployment.ts';
import type { LinkState, LivePod, Observed } from '../observed.ts';
import type { Canary } from './canary.ts';
import { isOf } from './canary-pods.ts';

/** What the pods of a ModelDeployment are to do. */
export function tableFor({ model, canaryPods }: Observed, canary: Canary | undefined): Table {
  if (canary === undefined || canary.record.state === 'Failed') return {};
  const { target, record } = canary;
  const { stickyBy, routing } = canaryPolicyOf(model.spec);
  if (routing.kind !== 'Pods') return {};
  const mirror = mirrorOf(model.spec);
  const share: TrafficShare = {
    revision: target.metadata.name,
    version: target.data.inputs.model.version,
    percent: record.weight,
    ...(stickyBy === undefined ? {} : { stickyBy }),
    ...(mirror === undefined ? {} : { mirror }),
    pods: canaryPods
      .filter((pod) => isOf(pod, target))
      .flatMap(addressesOf)
      .slice(0, mostCanaryPods),
  };
  return { [trafficPart]: share };
}

/** Which requests the canary is asked for comparison, and how answers are compared: as its Agreement gates say. */
function mirrorOf(spec: ModelDeploymentSpec): Mirror | undefined {
  const { mirrorPercent: percent, analysis } = canaryPolicyOf(spec);
  if (percent === 0) return undefined;
  const gates = analysis.gates.filter(({ metric }) => metric === 'Agreement');
  const outputs = gates.flatMap((gate) => gate.outputs ?? []);
  const number = (name: 'absolute' | 'relative', text: string | undefined) =>
    text === undefined ? {} : { [name]: Number(text) };
  return {
    percent,
    outputs: outputs.map(({ name, compare, absolute, relative }) => ({
      name,
      compare,
      ...number('absolute', absolute),
      ...number('relative', relative),
    })),
  };
}

function addressesOf({ ip, conditions, metadata }: LivePod) {
  const isReady = conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
  if (ip === undefined || !isReady || metadata.deletionTimestamp !== undefined) return [];
  const host = ip.includes(':') ? `[${ip}]` : ip;
  return [{ http: `${host}:${ports.serving}`, grpc: `${host}:${ports.grpc}` }];
}

/** The percentage that a pod passes on to a revision; undefined for none. */
export function shareTakenBy(state: LinkState | undefined, revision: string): number | undefined {
  const table = state?.kind === 'linked' ? state.figures.table?.table : undefined;
  const share = table === undefined ? undefined : shareOf(table);
  return share?.revision === revision ? share.percent : undefined;
}

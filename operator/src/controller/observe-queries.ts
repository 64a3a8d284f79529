import { filledQuery, type QueryAnswer } from '../analysis/query-gate.ts';
import { canaryPolicyOf, type ModelDeployment } from '../api/model-deployment.ts';
import { keyOf } from '../kube/objects.ts';
import { firstInterval } from '../rollout/canary-step.ts';
import type { QueryInquiries } from './query-inquiries.ts';

/** What the queries of a step's gates have given so far, by the names of the gates; asking goes on beside the passes. */
export function observeQueries(model: ModelDeployment, queries: QueryInquiries): ReadonlyMap<string, QueryAnswer> {
  const record = model.status?.rollout?.canary;
  if (record?.state !== 'Holding') return new Map();
  const { analysis } = canaryPolicyOf(model.spec);
  const { intervalSeconds } = analysis;
  const { namespace, name, uid } = model.metadata;
  const { revision, stableRevision } = record;
  const first = firstInterval(record, intervalSeconds);
  const names = { namespace, name, revision, stableRevision, interval: `${intervalSeconds}s` };
  return new Map(
    analysis.gates.flatMap((gate, index) => {
      if (gate.metric !== 'PromQL') return [];
      const query = filledQuery(gate.query ?? '', names);
      const answer = queries.get({
        id: questionId(uid, index),
        version: JSON.stringify([query, intervalSeconds, first]),
        key: keyOf(model),
        query,
        intervalSeconds,
        first,
      })?.answer;
      return answer === undefined ? [] : [[gate.name ?? '', answer] as const];
    }),
  );
}

/** A ModelDeployment that is gone asks nothing any more. */
export function forgetQueries({ metadata: { uid } }: ModelDeployment, queries: QueryInquiries): void {
  for (let index = 0; index < mostGates; index++) queries.forget(questionId(uid, index));
}

/** As many as the CRD allows. */
const mostGates = 8;

const questionId = (uid: string, gate: number) => `${uid}/${gate}`;

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Condition } from '../../operator/src/api/model-deployment.ts';
import { modelDeploymentResource } from '../../operator/src/controller/caches.ts';
import { type ChildKind, servingChildKinds } from '../../operator/src/desired/children.ts';
import { ApiError } from '../../operator/src/kube/errors.ts';
import { pathOf } from '../../operator/src/kube/objects.ts';
import { eventually } from '../eventually.ts';
import { inParallel } from '../in-parallel.ts';
import { startInProcessOperator } from './in-process-operator.ts';
import { modelDeployments } from './model-deployments.ts';
import { brokenVersion, startPodLife } from './pod-life.ts';
import { randomSpecs } from './random-spec.ts';
import { type AnyObject, makeNamespace, testClient } from './test-cluster.ts';

/**
 * Random lives, after Acto (SOSP 2023): specs made from the CRD's own schema follow each other on one object, and at the
 * end its children are those of a fresh object with the last spec. A bad change in between leaves no trace either.
 *
 * SLIPWAY_SEED repeats a run; SLIPWAY_FAULTS=all makes it long.
 */
const lives = process.env['SLIPWAY_FAULTS'] === 'all' ? 150 : 40;
const seed = Number(process.env['SLIPWAY_SEED'] ?? Date.now() % 1_000_000);
const parallel = 5;

const client = testClient();
let podLife: ReturnType<typeof startPodLife>;
beforeAll(() => {
  podLife = startPodLife();
});
afterAll(() => podLife.stop());

type Models = ReturnType<typeof modelDeployments>;

interface Life {
  readonly specs: readonly object[];
  /** A change for the worse, before the last one. */
  readonly mistake: object | undefined;
}

/** What the API server takes, and no pod can be made or become ready of. */
const mistakes: fc.Arbitrary<object | undefined> = fc.constantFrom(
  undefined,
  { model: { version: brokenVersion, uri: 'pvc://none/model.onnx', sha256: 'd'.repeat(64) }, replicas: 2 },
  { pod: { serviceAccountName: 'none' } },
  { pod: { priorityClassName: 'none' } },
);

const randomLives: fc.Arbitrary<Life> = fc.record({
  specs: fc.array(randomSpecs(), { minLength: 2, maxLength: 4 }),
  mistake: mistakes,
});

/** @returns whether the API takes it */
async function put(namespace: string, models: Models, spec: object): Promise<boolean> {
  const path = pathOf(modelDeploymentResource, namespace, 'iris');
  const body = [{ op: 'replace', path: '/spec', value: spec }];
  try {
    const isThere = await models.get('iris').then(
      () => true,
      () => false,
    );
    if (isThere) await client.call('PATCH', path, { body, contentType: 'application/json-patch+json' });
    else await models.create('iris', spec);
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 422) return false;
    throw error;
  }
}

function isSettled({ status, metadata }: AnyObject): boolean {
  const conditions: readonly Condition[] = status?.conditions ?? [];
  const isUnderWay = conditions.find(({ type }) => type === 'Reconciling')?.status !== 'False';
  return status?.observedGeneration === metadata.generation && !isUnderWay;
}

interface Outcome {
  readonly children: Readonly<Partial<Record<ChildKind, object>>>;
  readonly refused: boolean;
  /** For whoever reads of a failure. */
  readonly status: object;
}

/**
 * Puts specs one after the other, some of them before the one before has settled.
 *
 * @returns undefined when the API takes none of them
 */
async function live(specs: readonly object[]): Promise<Outcome | undefined> {
  const namespace = await makeNamespace(client);
  const models = modelDeployments(client, namespace);
  const operator = await startInProcessOperator(namespace);
  try {
    let taken = 0;
    for (const [index, spec] of specs.entries()) {
      if (!(await put(namespace, models, spec))) continue;
      taken++;
      if (index % 2 === 0) await operator.quiet();
    }
    if (taken === 0) return undefined;
    // However late a watch is on a busy machine: an operator that waits for one writes nothing either.
    await eventually(() => models.get('iris'), isSettled, { seconds: 90 });
    await operator.quiet();
    const { spec, status } = await models.get('iris');
    const found = await Promise.all(servingChildKinds.map((kind) => models.child(kind, 'iris')));
    const isAutoscaled = spec.autoscaling !== undefined;
    const children = found.flatMap((child, index) => {
      if (child === undefined) return [];
      const { clusterIP: _, clusterIPs: __, ...own } = child.spec ?? {};
      const replicas =
        isAutoscaled && servingChildKinds[index] === 'Deployment' ? { replicas: 'those of the autoscaler' } : {};
      const { 'deployment.kubernetes.io/revision': ___, ...annotations } = child.metadata.annotations ?? {};
      return [
        [servingChildKinds[index], { spec: { ...own, ...replicas }, labels: child.metadata.labels, annotations }],
      ];
    });
    const reasons = (status.conditions as { reason: string }[]).map(({ reason }) => reason);
    return { children: Object.fromEntries(children), refused: reasons.includes('ApplyRefused'), status };
  } finally {
    await operator.stop();
    void client.call('DELETE', `/api/v1/namespaces/${namespace}`, { body: {} });
  }
}

test('whatever a ModelDeployment has been, its children are those of a fresh one with the same spec', async () => {
  // First, for a life that never settles ends the test here.
  process.stderr.write(`random lives: SLIPWAY_SEED=${seed}\n`);
  const failures: string[] = [];
  let compared = 0;
  await inParallel(fc.sample(randomLives, { seed, numRuns: lives }), parallel, async ({ specs, mistake }) => {
    const last = specs.at(-1) as object;
    const fresh = await live([last]);
    // The last spec is one that the API refuses, or that it takes and refuses the children of.
    if (fresh === undefined || fresh.refused) return;
    const history = [...specs.slice(0, -1), ...(mistake === undefined ? [] : [{ ...specs[0], ...mistake }]), last];
    const lived = await live(history);
    try {
      expect(lived?.children).toEqual(fresh.children);
      compared++;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      failures.push(`${JSON.stringify(history)}\n${why}\nstatus: ${JSON.stringify(lived?.status)}`);
    }
  });
  process.stderr.write(`random lives: ${compared} of ${lives} compared\n`);
  expect(failures.join('\n\n')).toBe('');
  expect(compared).toBeGreaterThan(lives / 2);
}, 3_600_000);

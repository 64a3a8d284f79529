import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { operatorRules, renderRights } from './operator-rights.ts';
import { auditLog } from './test-cluster.ts';

/**
 * What the operator did in all tests of this project, against what the chart lets it do. This file runs last
 * (`e2e/tests-in-order.js`); by itself it has nothing to compare.
 */
interface AuditEvent {
  readonly verb: string;
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource: string;
    readonly subresource?: string;
    readonly namespace?: string;
  };
  readonly requestURI: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

const recorded: readonly AuditEvent[] = readFileSync(auditLog(), 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => JSON.parse(line));

const right = (group: string, resource: string, verb: string) =>
  `${verb} ${group === '' ? '' : `${group}/`}${resource}`;

/** What is asked for while another request is dealt with, and so is in no record of requests. */
const checkedWithin = [
  // Who names an owner must be able to block its deletion, and to delete what is owned (a plugin of some clusters).
  'update serving.slipway.dev/modeldeployments/finalizers',
  'delete services',
  'delete configmaps',
  // An apply that makes an object is recorded as a patch.
  'create apps/deployments',
  'create services',
  'create configmaps',
  'create autoscaling/horizontalpodautoscalers',
  'create policy/poddisruptionbudgets',
];

describe('the rights of the operator', () => {
  test('are as many as it needs: nothing was forbidden to it', () => {
    const forbidden = recorded.filter(
      ({ annotations = {} }) => annotations['authorization.k8s.io/decision'] === 'forbid',
    );
    expect(forbidden.map(({ verb, requestURI }) => `${verb} ${requestURI}`)).toEqual([]);
    expect(recorded.length).toBeGreaterThan(1000);
  });

  test('are no more than it needs: every one was used', async () => {
    const used = new Set(
      recorded.flatMap(({ verb, objectRef }) => {
        if (objectRef === undefined) return [];
        const { apiGroup = '', resource, subresource } = objectRef;
        return [right(apiGroup, subresource === undefined ? resource : `${resource}/${subresource}`, verb)];
      }),
    );
    const given = operatorRules(await renderRights('--set', 'gatewayApi.enabled=true')).flatMap(
      ({ apiGroups, resources, verbs }) =>
        apiGroups.flatMap((group) =>
          resources.flatMap((resource) => verbs.map((verb) => right(group, resource, verb))),
        ),
    );
    expect(given.filter((one) => !used.has(one)).toSorted()).toEqual(checkedWithin.toSorted());
    expect([...used].filter((one) => !given.includes(one))).toEqual([]);
  });
});

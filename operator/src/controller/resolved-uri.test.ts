import { describe, expect, test } from '@jest/globals';
import { noMeasures } from '../../../contract/src/measures.ts';
import type { LinkState, Observed } from '../observed.ts';
import { kinds, pass, settle, undo } from '../testing/simulation.ts';
import { modelDeployment, observed, pod } from '../testing/test-objects.ts';

const uri = 'oci://registry.example/iris:1/model.onnx';
const pinned = `oci://registry.example/iris@sha256:${'a'.repeat(64)}/model.onnx`;

const other = pinned.replace(/a{64}/, 'c'.repeat(64));

const linked = (resolvedUri: string | undefined, movedTo?: string): LinkState => {
  const digest = `sha256:${'b'.repeat(64)}`;
  const model = {
    name: 'iris',
    version: '1',
    digest,
    signature: { inputs: [], outputs: [] },
    resolvedUri,
    movedTo,
    signedBy: undefined,
    goldenSet: undefined,
  };
  return {
    kind: 'linked',
    figures: { revision: undefined, model, measures: noMeasures, passedOn: undefined, table: undefined },
  };
};
/** Pods of the revision that runs, each with what it tells. */
const telling = (state: Observed, ...told: (string | undefined)[]): Observed => {
  const revision = state.model.status?.currentRevision ?? '';
  return {
    ...state,
    pods: told.map((_, index) => pod(`iris-${index}`, revision)),
    links: new Map(told.map((one, index) => [`iris-${index}`, linked(one)])),
  };
};
const served = (of = uri) => settle(observed({ model: modelDeployment({ model: { version: '1', uri: of } }) })).state;
const toldToPods = ({ link }: Observed): unknown => {
  const data = link !== undefined && 'data' in link ? link.data : undefined;
  const [, text] = Object.entries(data ?? {}).find(([file]) => file === 'resolved-uris.json') ?? [];
  return JSON.parse(String(text));
};

describe('what a tag has led to', () => {
  test('is kept as pods tell it, and told to the others', () => {
    const { state } = settle(telling(served(), undefined, pinned, pinned));
    const revision = state.model.status?.currentRevision ?? '';
    expect(state.model.status?.resolvedUri).toBe(pinned);
    expect(toldToPods(state)).toEqual({ [revision]: pinned });
    const loaded = state.model.status?.conditions?.find(({ type }) => type === 'ModelLoaded');
    expect(loaded).toMatchObject({ reason: 'Resolved', message: expect.stringContaining(`${uri} led to ${pinned}`) });
    // However it moves, nothing follows.
    expect(kinds(pass(telling(state, other)))).not.toContain('keep-resolved-uri');
  });

  test('is said to have moved once a pod has been told so, and not followed', () => {
    const before = settle(telling(served(), pinned, pinned)).state;
    const told = (...links: readonly LinkState[]) => {
      const state = telling(before, ...links.map(() => pinned));
      return settle({ ...state, links: new Map(links.map((link, index) => [`iris-${index}`, link])) }).state;
    };
    const loadedOf = ({ model }: Observed) => model.status?.conditions?.find(({ type }) => type === 'ModelLoaded');
    const moved = told(linked(pinned), linked(pinned, other));
    expect(loadedOf(moved)).toMatchObject({ status: 'True', reason: 'Moved' });
    expect(loadedOf(moved)?.message).toContain(`led to ${pinned}, which goes on serving, and leads to ${other} by now`);
    expect(moved.model.status?.resolvedUri).toBe(pinned);
    // What leads elsewhere is believed by nobody, nor what is still the same.
    for (const nothing of [undefined, pinned, uri, 'oci://evil.example/iris@sha256:1', 'https://evil.example'])
      expect(loadedOf(told(linked(pinned, nothing)))?.reason).toBe('Resolved');
    // A leader that has asked nobody yet does not take it back.
    const links = new Map(Array.from(moved.links.keys(), (name) => [name, { kind: 'pending' } as const]));
    expect(loadedOf(settle({ ...moved, links }).state)?.reason).toBe('Moved');
  });

  test('stays with its revision, whatever comes after it, and an undo has it', () => {
    const first = settle(telling(served(), pinned)).state;
    const old = first.model.status?.currentRevision ?? '';
    const model = modelDeployment({ model: { version: '2', uri: 'oci://registry.example/iris:2/model.onnx' } });
    const second = settle({
      ...first,
      pods: [],
      links: new Map(),
      model: { ...model, metadata: { ...model.metadata, generation: 2 }, status: first.model.status ?? {} },
    }).state;
    expect(second.model.status?.resolvedUri).toBeUndefined();
    expect(toldToPods(second)).toEqual({ [old]: pinned });
    const undone = settle(undo(second, old)).state;
    expect(undone.model.status).toMatchObject({ currentRevision: old, resolvedUri: pinned });
  });

  test.each([
    ['another place', `oci://evil.example/iris@sha256:${'a'.repeat(64)}/model.onnx`],
    ['another file', `oci://registry.example/iris@sha256:${'a'.repeat(64)}/other.onnx`],
    ['a tag', uri],
  ])('is nothing that leads to %s, whatever a pod tells', (_, told) => {
    expect(kinds(pass(telling(served(), told)))).not.toContain('keep-resolved-uri');
  });

  test('is not kept while pods contradict each other, or somebody has changed their template', () => {
    expect(kinds(pass(telling(served(), pinned, other)))).not.toContain('keep-resolved-uri');
    const { deployment, ...rest } = telling(served(), pinned);
    if (deployment === undefined) throw new Error('there is no Deployment');
    const changed = {
      ...rest,
      deployment: { ...deployment, intruders: [{ manager: 'kubectl', fields: ['spec.containers'] }] },
    };
    expect(kinds(pass(changed))).not.toContain('keep-resolved-uri');
  });

  test('that is nonsense stops nothing', () => {
    const { state } = settle(telling(served(), 'file://%'));
    const revisions = state.revisions.map((revision) => ({
      ...revision,
      metadata: { ...revision.metadata, annotations: { 'serving.slipway.dev/resolved-uri': 'file://%' } },
    }));
    expect(settle({ ...state, revisions }).state.model.status?.resolvedUri).toBeUndefined();
  });

  test('is of no interest where nothing moves', () => {
    expect(kinds(pass(telling(served(pinned), pinned)))).not.toContain('keep-resolved-uri');
  });
});

import type { ModelDeploymentSpec } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import type { Observed } from '../observed.ts';
import { templateRevision } from '../rollout/revision.ts';
import { change, settle } from './simulation.ts';
import { observed } from './test-objects.ts';

/** Versions of a model as they come and go, for tests of which of them is run. */
export const asking = (state: Observed, version: string, rest: Partial<ModelDeploymentSpec> = {}) =>
  change(state, { model: { version, uri: 'https://models.example/iris.onnx' }, ...rest });

/** A state in which the last of some versions runs, and each was healthy. */
export const afterVersions = (...versions: readonly string[]) =>
  versions.reduce((state, version) => settle(asking(state, version)).state, observed());

/** The name of the revision that runs. */
export const live = ({ deployment }: Observed) => templateRevision(deployment?.spec.template);

/** The name of the revision of a version. */
export const nameOf = ({ revisions }: Observed, version: string) =>
  revisions.find(({ data }) => data.inputs.model.version === version)?.metadata.name ?? '';

export const rollbackOf = ({ model: { status } }: Observed) => status?.rollback;

/** The reasons of all events, in order. */
export const reasons = (passes: readonly { events: readonly { reason: string }[] }[]) =>
  passes.flatMap(({ events }) => events.map(({ reason }) => reason));

/** Somebody has set the retry annotation. */
export const annotate = (state: Observed, value: string): Observed => ({
  ...state,
  model: { ...state.model, metadata: { ...state.model.metadata, annotations: { [annotations.retry]: value } } },
});

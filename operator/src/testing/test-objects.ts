import type { IContainerStatus } from 'kubernetes-models/v1';
import type { ModelDeployment, ModelDeploymentSpec } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import type { LiveDeployment, LivePod, Observed } from '../observed.ts';

/** Objects for tests, as they come out of the caches. */
export function modelDeployment(spec: Partial<ModelDeploymentSpec> = {}): ModelDeployment {
  return {
    apiVersion: 'serving.slipway.dev/v1alpha1',
    kind: 'ModelDeployment',
    metadata: { name: 'iris', namespace: 'n', uid: 'model-uid', resourceVersion: '1', generation: 1 },
    spec: { model: { version: '1', uri: 'https://models.example/iris.onnx' }, ...spec },
  };
}

export function observed(parts: Partial<Observed> = {}): Observed {
  return {
    model: modelDeployment(),
    revisions: [],
    deployment: undefined,
    link: undefined,
    service: undefined,
    autoscaler: undefined,
    canaryDeployment: undefined,
    canaryAutoscaler: undefined,
    canaryService: undefined,
    disruptionBudget: undefined,
    replicaSets: [],
    canaryReplicaSets: [],
    pods: [],
    canaryPods: [],
    series: [],
    countedSince: 0,
    queries: new Map(),
    routes: [],
    preflightPods: [],
    prefetchPods: [],
    links: new Map(),
    reports: new Map(),
    loading: new Map(),
    mountFailures: new Map(),
    conflicts: [],
    linkConflict: undefined,
    canaryConflict: undefined,
    foreignAutoscalers: [],
    attempts: new Map(),
    routeRepairs: new Map(),
    refusals: new Map(),
    ...parts,
  };
}

export function pod(
  name: string,
  revision: string,
  container: Partial<IContainerStatus> = {},
  parts: Partial<LivePod> = {},
): LivePod {
  const status = { name: 'model', ready: false, restartCount: 0, image: 'i:1', imageID: '', ...container };
  return {
    metadata: {
      name,
      namespace: 'n',
      uid: name,
      resourceVersion: '1',
      annotations: { [annotations.revision]: revision },
    },
    ip: '10.0.0.1',
    node: undefined,
    volumeImage: undefined,
    phase: 'Running',
    conditions: [],
    containers: [status],
    ...parts,
  };
}

/** A Deployment whose controller has caught up with it. */
export function completeDeployment(deployment: LiveDeployment): LiveDeployment {
  const replicas = deployment.spec.replicas ?? 1;
  const counts = { replicas, readyReplicas: replicas, availableReplicas: replicas, updatedReplicas: replicas };
  return { ...deployment, status: { ...counts, observedGeneration: deployment.metadata.generation ?? 0 } };
}

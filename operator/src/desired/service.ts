import { ports } from '../../../contract/src/ports.ts';
import type { ModelDeployment } from '../api/model-deployment.ts';
import { servicePort } from '../api/names.ts';
import type { ServiceManifest } from './children.ts';
import { bothTracksSelector, canaryName, childMetadata, type Track, trackSelector } from './metadata.ts';

/** Where clients of TensorFlow Serving look for a model. */
const tensorflowServingPorts = [
  grpcPort('tensorflow-grpc', 8500),
  { name: 'tensorflow-rest', port: 8501, targetPort: 'http', protocol: 'TCP' },
] as const;

function grpcPort(name: string, port: number) {
  return { name, port, targetPort: 'grpc', protocol: 'TCP', appProtocol: 'kubernetes.io/h2c' } as const;
}

/** @param tracks whose pods answer */
export function renderService(model: ModelDeployment, tracks: Track | 'both'): ServiceManifest {
  return serviceOf(model, model.metadata.name, selectorOf(model, tracks));
}

/** What routes of a Gateway have as the backend of a canary. */
export function renderCanaryService(model: ModelDeployment): ServiceManifest {
  return serviceOf(model, canaryName(model.metadata.name), selectorOf(model, 'canary'));
}

function selectorOf({ metadata: { name } }: ModelDeployment, tracks: Track | 'both'): Record<string, string> {
  return tracks === 'both' ? bothTracksSelector(name) : trackSelector(name, tracks);
}

function serviceOf(model: ModelDeployment, name: string, selector: Record<string, string>): ServiceManifest {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { ...childMetadata(model), name },
    spec: {
      type: 'ClusterIP',
      selector,
      ports: [
        { name: servicePort.name, port: servicePort.port, targetPort: 'http', protocol: 'TCP' },
        grpcPort('grpc', ports.grpc),
        ...(model.spec.service?.tensorFlowServingPorts === 'Enabled' ? tensorflowServingPorts : []),
      ],
    },
  };
}

/** Where a model answers inside the cluster. */
export function serviceUrl({ metadata }: ModelDeployment, modelName: string): string {
  return `http://${metadata.name}.${metadata.namespace}.svc/v2/models/${modelName}`;
}

import type { KubeClient } from './client.ts';
import { type KubeObject, pathOf, type Resource } from './objects.ts';

export interface ApplyOptions {
  readonly fieldManager: string;
  /** Takes fields from other managers: only for an object whose controller we are. */
  readonly force: boolean;
  readonly subresource?: string;
}

/** A whole object as it is to be applied. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
}

/**
 * Server-side apply. Unknown fields are refused by the API server, never dropped.
 *
 * @throws ApiError 409 when not forced and another manager owns a field with another value
 */
export function apply<T extends KubeObject>(
  client: KubeClient,
  resource: Resource,
  manifest: Manifest,
  { fieldManager, force, subresource }: ApplyOptions,
): Promise<T> {
  const { namespace, name } = manifest.metadata;
  return client.call('PATCH', pathOf(resource, namespace, name, subresource), {
    contentType: 'application/apply-patch+yaml',
    query: { fieldManager, force, fieldValidation: 'Strict' },
    body: manifest,
  });
}

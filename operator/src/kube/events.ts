import { randomBytes } from 'node:crypto';
import type { KubeClient } from './client.ts';
import { type KubeObject, pathOf, type Resource } from './objects.ts';

export interface EventRecord {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
  /** Tells apart two happenings that the same words are said of. */
  readonly occurrence?: string;
}

export interface EventRecorder {
  /** Records an event on an object. The same words of the same happening are recorded once in ten minutes. */
  record(
    object: KubeObject & { readonly apiVersion: string; readonly kind: string },
    event: EventRecord,
  ): Promise<void>;
}

const events: Resource = { group: 'events.k8s.io', version: 'v1', kind: 'Event', plural: 'events' };
const silenceMilliseconds = 600_000;
/** The API's own limit of an event's note. */
const maxNoteBytes = 1024;

export function createEventRecorder(
  client: KubeClient,
  controller: string,
  instance: string,
  now: () => number,
): EventRecorder {
  const recorded = new Map<string, number>();
  return {
    async record(object, { type, reason, message, occurrence = '' }) {
      const { namespace = 'default', name, uid, resourceVersion } = object.metadata;
      const identity = `${uid} ${occurrence} ${reason} ${message}`;
      const time = now();
      for (const [key, when] of recorded) if (time - when > silenceMilliseconds) recorded.delete(key);
      if (recorded.has(identity)) return;
      recorded.set(identity, time);
      const { apiVersion, kind } = object;
      await client.call('POST', pathOf(events, namespace), {
        body: {
          apiVersion: 'events.k8s.io/v1',
          kind: 'Event',
          metadata: { name: `${name}.${randomBytes(8).toString('hex')}`, namespace },
          eventTime: new Date(time).toISOString().replace('Z', '000Z'),
          reportingController: controller,
          reportingInstance: instance.slice(0, 128),
          action: 'Reconcile',
          regarding: { apiVersion, kind, namespace, name, uid, resourceVersion },
          type,
          reason,
          note: withinBytes(message, maxNoteBytes),
        },
      });
    },
  };
}

/** The beginning of a text that takes no more bytes as UTF-8, whole characters only. */
export function withinBytes(text: string, most: number): string {
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(most));
  return text.slice(0, read);
}

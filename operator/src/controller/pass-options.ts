import type { Logger } from 'pino';
import type { KubeClient } from '../kube/client.ts';
import type { EventRecorder } from '../kube/events.ts';
import type { Metrics } from '../metrics.ts';
import type { PodLink } from '../podlink/pod-link.ts';
import type { Caches } from './caches.ts';
import type { Policy } from './decide.ts';
import type { DiagnosisInquiries } from './diagnosis-inquiries.ts';
import type { Memory } from './memory.ts';
import type { QueryInquiries } from './query-inquiries.ts';

/** What passes are made with; each part of a pass takes what it needs of it. */
export interface PassOptions {
  /** What has been seen of the cluster. */
  readonly caches: Caches;
  /** Ends every call once this process must not write any more. */
  readonly client: KubeClient;
  /** Aborted then. */
  readonly authority: AbortSignal;
  /** What is remembered between passes. */
  readonly memory: Memory;
  /** What is asked beside the passes. */
  readonly inquiries: DiagnosisInquiries;
  /** What Prometheus is asked. */
  readonly queries: QueryInquiries;
  /** What pods tell. */
  readonly link: Pick<PodLink, 'follow' | 'rest' | 'forget' | 'forgetModel' | 'seriesOf' | 'countedSince' | 'tell'>;
  readonly events: EventRecorder;
  readonly metrics: Pick<Metrics, 'setCanary'>;
  /** The operator's own settings, as they are now. */
  readonly policy: () => Policy;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

import type { LoadingProgress } from '../../../contract/src/loading-progress.ts';
import type { ModelReport } from '../../../contract/src/model-report.ts';
import type { KubeClient } from '../kube/client.ts';
import { askLoadingProgress } from '../podlink/loading-progress.ts';
import { askModelReport } from '../podlink/model-reports.ts';
import type { PodCall } from '../podlink/pod-calls.ts';
import { createInquiries, type Inquiries, type InquiriesOptions, type Question } from './inquiries.ts';

/** A question about one pod. Its id is the pod's uid. */
export interface PodQuestion extends Question {
  readonly namespace: string;
  readonly pod: string;
  readonly ip: string;
}

/** What is asked about pods beyond the caches. */
export interface DiagnosisInquiries {
  /** Which model a ready pod serves. The answer of a running container never changes, so it is asked once. */
  readonly reports: Inquiries<PodQuestion, ModelReport>;
  /** How far a pod is with loading its model. */
  readonly loading: Inquiries<PodQuestion, { readonly progress?: LoadingProgress | undefined }>;
  /** Why a pod's volume cannot be mounted: only an Event says so. Undefined in the answer when none does. */
  readonly mountFailures: Inquiries<PodQuestion, { readonly message?: string }>;
}

/** For how long the Events of a pod are taken for current. */
const eventsMilliseconds = 8000;
/** For how long what a pod has told of its loading is. */
const loadingMilliseconds = 8000;

export function createDiagnosisInquiries(
  client: KubeClient,
  call: PodCall,
  common: Pick<InquiriesOptions<PodQuestion, unknown>, 'wake' | 'onError' | 'now'>,
): DiagnosisInquiries {
  return {
    reports: createInquiries({
      ...common,
      ask: ({ namespace, pod, ip }) => askModelReport(call, { namespace, name: pod, ip }),
      lasts: () => Number.POSITIVE_INFINITY,
    }),
    loading: createInquiries({
      ...common,
      ask: async ({ namespace, pod, ip }) => ({
        progress: await askLoadingProgress(call, { namespace, name: pod, ip }),
      }),
      lasts: () => loadingMilliseconds,
    }),
    mountFailures: createInquiries({
      ...common,
      ask: (question) => readMountFailure(client, question),
      lasts: () => eventsMilliseconds,
      concurrency: 2,
    }),
  };
}

interface EventList {
  readonly items: readonly { readonly reason?: string; readonly message?: string }[];
}

async function readMountFailure(client: KubeClient, { namespace, id }: PodQuestion): Promise<{ message?: string }> {
  const fieldSelector = `involvedObject.uid=${id},type=Warning`;
  const { items }: EventList = await client.call('GET', `/api/v1/namespaces/${namespace}/events`, {
    query: { fieldSelector, limit: 50 },
  });
  const failure = items.findLast(({ reason }) => reason === 'FailedMount' || reason === 'FailedCreatePodSandBox');
  return failure?.message === undefined ? {} : { message: failure.message };
}

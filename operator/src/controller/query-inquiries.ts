import type { QueryAnswer } from '../analysis/query-gate.ts';
import { withinCharacters } from '../api/text.ts';
import { messageOf } from '../kube/errors.ts';
import type { Prometheus } from '../prometheus/prometheus.ts';
import { createInquiries, type Inquiries, type InquiriesOptions, type Question } from './inquiries.ts';

/** What a query has given since an interval. */
export interface RangeQuestion extends Question {
  readonly query: string;
  readonly intervalSeconds: number;
  readonly first: number;
}

interface Timed {
  readonly answer: QueryAnswer;
  readonly lastsMilliseconds: number;
}

export type QueryInquiries = Inquiries<RangeQuestion, Timed>;

/** No query is asked for more intervals than that: a gate needs the newest. */
const mostIntervals = 1000;
const failedIntervals = 2;
/** As long as the CRD allows. */
const maxReason = 512;

const noPrometheus =
  'the operator was told of no Prometheus: set prometheus.url of its chart (or --prometheus-url), or remove the gate';

/**
 * Asks Prometheus once in each interval. A query that cannot be answered is news as well: its gate says why.
 *
 * @param date in milliseconds since 1970
 */
export function createQueryInquiries(
  prometheus: Prometheus | undefined,
  date: () => number,
  common: Pick<InquiriesOptions<RangeQuestion, Timed>, 'wake' | 'onError' | 'now'>,
): QueryInquiries {
  const ask = async ({ query, intervalSeconds, first }: RangeQuestion): Promise<QueryAnswer> => {
    if (prometheus === undefined) return { kind: 'failed', why: noPrometheus };
    const ended = Math.floor(date() / 1000 / intervalSeconds);
    const begin = Math.max(first + 1, ended - mostIntervals + 1);
    if (begin > ended) return { kind: 'values', values: [] };
    const range = { query, start: begin * intervalSeconds, end: ended * intervalSeconds, step: intervalSeconds };
    try {
      const samples = await prometheus.range(range);
      // The end of an interval is where the next one begins.
      const values = samples.map(({ time, value }) => ({ interval: Math.round(time / intervalSeconds) - 1, value }));
      return { kind: 'values', values };
    } catch (error) {
      return { kind: 'failed', why: withinCharacters(messageOf(error), maxReason) };
    }
  };
  return createInquiries({
    ...common,
    ask: async (question) => {
      const answer = await ask(question);
      // Whoever cannot be answered is asked less often: others wait meanwhile.
      const intervals = answer.kind === 'failed' ? failedIntervals : 1;
      return { answer, lastsMilliseconds: intervals * question.intervalSeconds * 1000 };
    },
    lasts: ({ lastsMilliseconds }) => lastsMilliseconds,
    concurrency: 16,
  });
}

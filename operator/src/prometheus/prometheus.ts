import { readFile } from 'node:fs/promises';
import { Agent, request } from 'undici';

/** A query that is evaluated at several times, all in seconds since 1970. */
export interface RangeQuery {
  readonly query: string;
  readonly start: number;
  readonly end: number;
  readonly step: number;
}

export interface Sample {
  /** In seconds since 1970. */
  readonly time: number;
  readonly value: number;
}

export interface PrometheusSettings {
  readonly url: string;
  /** A file with the bearer token to show; read for each query, because tokens are renewed. */
  readonly tokenFile?: string | undefined;
}

/** A Prometheus, or what speaks its HTTP API. */
export interface Prometheus {
  /**
   * What a query gives at each time at which it gives a number.
   *
   * @throws Error that says why there is no answer
   */
  range(query: RangeQuery): Promise<readonly Sample[]>;
}

const timeoutSeconds = 5;
const maxBytes = 1024 * 1024;

/** Speaks the HTTP API of Prometheus, `/api/v1/query_range` (prometheus.io/docs/prometheus/latest/querying/api). */
export function createPrometheus({ url, tokenFile }: PrometheusSettings): Prometheus {
  const dispatcher = new Agent({ connections: 16 });
  const endpoint = `${url.replace(/\/+$/, '')}/api/v1/query_range`;
  return {
    async range({ query, start, end, step }) {
      const body = new URLSearchParams({
        query,
        start: String(start),
        end: String(end),
        step: String(step),
        timeout: `${timeoutSeconds}s`,
      });
      const response = await request(endpoint, {
        method: 'POST',
        dispatcher,
        signal: AbortSignal.timeout((timeoutSeconds + 1) * 1000),
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...(await authorization(tokenFile)) },
        body: body.toString(),
      });
      const text = await textOf(response.body);
      return samplesOf(response.statusCode, text);
    },
  };
}

async function authorization(tokenFile: string | undefined): Promise<Record<string, string>> {
  if (tokenFile === undefined) return {};
  return { authorization: `Bearer ${(await readFile(tokenFile, 'utf8')).trim()}` };
}

async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new Error(`Prometheus answered more than ${maxBytes} bytes: aggregate the query`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

interface Answer {
  readonly status?: unknown;
  readonly error?: unknown;
  readonly data?: { readonly resultType?: unknown; readonly result?: unknown };
}

function samplesOf(status: number, text: string): readonly Sample[] {
  const answer = answerOf(status, text);
  if (answer.status !== 'success')
    throw new Error(`Prometheus answered ${status}: ${typeof answer.error === 'string' ? answer.error : 'no reason'}`);
  const { resultType, result } = answer.data ?? {};
  if (resultType !== 'matrix' || !Array.isArray(result))
    throw new Error(`Prometheus gave no matrix, but ${String(resultType)}`);
  if (result.length > 1)
    throw new Error(`the query gives ${result.length} series where one is needed: aggregate it, with sum or max`);
  const [series]: { readonly values?: unknown }[] = result;
  const values: readonly unknown[] = Array.isArray(series?.values) ? series.values : [];
  return values.flatMap((pair) => {
    if (!Array.isArray(pair)) return [];
    const [time, value]: unknown[] = pair;
    return typeof time === 'number' && typeof value === 'string' ? [{ time, value: numberOf(value) }] : [];
  });
}

function answerOf(status: number, text: string): Answer {
  try {
    const answer: unknown = JSON.parse(text);
    if (typeof answer === 'object' && answer !== null) return answer;
  } catch {
    // Whatever stands before Prometheus answers as it likes.
  }
  throw new Error(`Prometheus answered ${status}, and no JSON`);
}

/** Prometheus writes infinities as +Inf and -Inf. */
function numberOf(text: string): number {
  return Number(text.replace('Inf', 'Infinity'));
}

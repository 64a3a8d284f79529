import type { WireTensor } from './models.ts';

/** The parsed text of an answer; numbers too large for a double are kept in `text`. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: an answer is compared, never computed with
  readonly json: any;
}

export async function get(url: string): Promise<HttpAnswer> {
  return read(await fetch(url));
}

export async function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<HttpAnswer> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return read(
    await fetch(url, { method: 'POST', body: text, headers: { 'content-type': 'application/json', ...headers } }),
  );
}

export async function read(response: Response): Promise<HttpAnswer> {
  const text = await response.text();
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status: response.status, headers: response.headers, text, json };
}

/** The data of each output of an answer, by name. */
export function outputData(answer: HttpAnswer): Record<string, unknown> {
  const outputs: readonly WireTensor[] = answer.json.outputs;
  return Object.fromEntries(outputs.map(({ name, data }) => [name, data]));
}

/** The same with every number as the float32 that its text means: what other forms than JSON carry. */
export function singles(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(singles);
  return typeof value === 'number' ? Math.fround(value) : value;
}

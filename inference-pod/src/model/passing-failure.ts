/** A failure of a store, or of whoever gives tokens for it, that may pass. */
export class Passing extends Error {
  override readonly name = 'Passing';
  /** How long it asks to wait. */
  readonly afterMilliseconds: number | undefined;

  constructor(message: string, afterMilliseconds?: number, options?: ErrorOptions) {
    super(message, options);
    this.afterMilliseconds = afterMilliseconds;
  }
}

/** Statuses of a server that may answer otherwise in a while. */
const passingStatuses = new Set([408, 425, 429, 500, 502, 503, 504]);

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/**
 * What a status means that may be another in a while.
 *
 * @param what the server has answered, in words
 */
export function passingAnswer(status: number, headers: Headers, what: string): Passing | undefined {
  return passingStatuses.has(status) ? new Passing(what, retryAfter(headers['retry-after'])) : undefined;
}

/** Seconds, or a date (RFC 9110, section 10.2.3), in milliseconds from now. */
function retryAfter(header: string | string[] | undefined): number | undefined {
  if (typeof header !== 'string') return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000;
  const until = Date.parse(header) - Date.now();
  return until > 0 ? until : undefined;
}

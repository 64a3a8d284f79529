/** An answer of the API server other than success. */
export class ApiError extends Error {
  readonly status: number;
  /** The reason of the Status object, such as NotFound, AlreadyExists or Conflict. */
  readonly reason: string;
  /** How long the API server asks to wait, in milliseconds. */
  readonly retryAfterMilliseconds: number | undefined;

  constructor(status: number, reason: string, message: string, retryAfterMilliseconds?: number) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.reason = reason;
    this.retryAfterMilliseconds = retryAfterMilliseconds;
  }
}

export function isNotFound(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404;
}

/** A write that lost against another: the view it was decided on is old. */
export function isConflict(error: unknown): error is ApiError {
  return error instanceof ApiError && error.status === 409;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A request that cannot be answered as it is: becomes an answer with this status and message. */
export class RequestError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'RequestError';
    this.status = status;
  }
}

export function badRequest(message: string, status = 400): RequestError {
  return new RequestError(status, message);
}

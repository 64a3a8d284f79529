/** The status codes of gRPC that this server gives. */
export const grpcStatus = {
  ok: 0,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
} as const;

export type GrpcStatus = (typeof grpcStatus)[keyof typeof grpcStatus];

/** What an HTTP status is in gRPC. */
export function grpcStatusOf(httpStatus: number): GrpcStatus {
  switch (httpStatus) {
    case 404:
      return grpcStatus.notFound;
    case 408:
    case 504:
      return grpcStatus.deadlineExceeded;
    case 413:
      return grpcStatus.resourceExhausted;
    case 415:
      return grpcStatus.unimplemented;
    case 503:
      return grpcStatus.unavailable;
    default:
      return httpStatus >= 500 ? grpcStatus.internal : grpcStatus.invalidArgument;
  }
}

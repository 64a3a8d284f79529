import { shorten } from '../protocol/json-reader.ts';
import { ProtobufReader, ProtobufWriter } from '../protocol/protobuf.ts';
import { grpcDescriptors } from './generated/grpc-descriptors.ts';
import type { GrpcMethod } from './grpc-server.ts';
import { grpcStatus } from './grpc-status.ts';

/** The numbers of the fields in grpc/reflection/v1/reflection.proto. */
const request = { host: 1, fileByName: 3, fileContainingSymbol: 4, extension: 5, extensionNumbers: 6, listServices: 7 };
const response = { host: 1, request: 2, files: 4, services: 6, error: 7 };

/** A name has to fit in. */
const mostRequestBytes = 4096;

type Descriptor = (typeof grpcDescriptors)[number];

/**
 * grpc.reflection.v1.ServerReflection, from which tools such as grpcurl learn the services. v1alpha, which older tools ask,
 * has the same messages; it is not listed.
 *
 * @param services the names of those that are served
 */
export function reflectionMethods(services: readonly string[]): ReadonlyMap<string, GrpcMethod> {
  const names = ['grpc.reflection.v1.ServerReflection', 'grpc.reflection.v1alpha.ServerReflection'];
  const served = [...services, 'grpc.reflection.v1.ServerReflection'];
  const method: GrpcMethod = {
    isStreaming: true,
    mostMessageBytes: mostRequestBytes,
    answer: (message) => answerTo(message, served).finish(),
  };
  return new Map(names.map((name) => [`/${name}/ServerReflectionInfo`, method]));
}

function answerTo(message: Buffer, services: readonly string[]): ProtobufWriter {
  const { host, field, value } = readRequest(message);
  const answer = new ProtobufWriter()
    .text(response.host, host)
    .message(response.request, new ProtobufWriter().piece(message));
  switch (field) {
    case request.listServices: {
      const list = new ProtobufWriter();
      for (const name of services) list.message(1, new ProtobufWriter().text(1, name));
      return answer.message(response.services, list);
    }
    case request.fileByName:
      return withFiles(
        answer,
        grpcDescriptors.find(({ file }) => file === value),
        value,
      );
    case request.fileContainingSymbol:
      return withFiles(
        answer,
        grpcDescriptors.find(({ symbols }) => symbols.some((symbol) => symbol === value)),
        value,
      );
    default:
      return withError(answer, grpcStatus.notFound, 'there are no extensions here');
  }
}

function readRequest(message: Buffer) {
  const reader = new ProtobufReader(message);
  let host = '';
  let asked = 0;
  let value = '';
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (field === request.host) host = reader.text();
    else if (field > request.listServices) reader.skip();
    else {
      asked = field;
      value = reader.text();
    }
  }
  return { host, field: asked, value };
}

/** The file, and all that it imports. */
function withFiles(answer: ProtobufWriter, descriptor: Descriptor | undefined, asked: string): ProtobufWriter {
  if (descriptor === undefined) return withError(answer, grpcStatus.notFound, `there is no ${shorten(asked)}`);
  const imported = grpcDescriptors.filter(({ file }) => descriptor.dependencies.some((name) => name === file));
  const files = new ProtobufWriter();
  for (const file of [descriptor, ...imported]) files.bytes(1, Buffer.from(file.descriptor, 'base64'));
  return answer.message(response.files, files);
}

function withError(answer: ProtobufWriter, code: number, message: string): ProtobufWriter {
  return answer.message(response.error, new ProtobufWriter().number(1, code).text(2, message));
}

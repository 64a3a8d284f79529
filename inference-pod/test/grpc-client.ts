import { join } from 'node:path';
import { type Client, credentials, loadPackageDefinition, type ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

// biome-ignore lint/suspicious/noExplicitAny: messages of a client that is made from the .proto at run time
export type Message = any;
export type Caller = Client & Record<string, (...args: unknown[]) => Message>;

/** A client of one service, such as inference.GRPCInferenceService, made from its definition at run time. */
export function clientOf(address: string, file: string, service: string): Caller {
  const folder = join(import.meta.dirname, '../protos');
  const definition = loadSync(join(folder, file), {
    keepCase: true,
    longs: String,
    enums: String,
    arrays: true,
    includeDirs: [folder],
  });
  let loaded: Message = loadPackageDefinition(definition);
  for (const name of service.split('.')) loaded = loaded[name];
  return new loaded(address, credentials.createInsecure());
}

export function call(client: Caller, method: string, request: unknown, options: object = {}): Promise<Message> {
  return new Promise((resolve, reject) => {
    client[method]?.(request, options, (error: ServiceError | null, response: Message) =>
      error === null ? resolve(response) : reject(error),
    );
  });
}

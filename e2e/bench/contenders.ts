import { join } from 'node:path';
import { repository } from '../cluster/cache.ts';
import type { Form } from './pod-cases.ts';
import type { Ports, ServerCommand } from './running-server.ts';

/** Where a server finds what it serves. */
export interface Assignment {
  /** The path of the model, which is to be served as `model`. */
  readonly model: string;
  readonly ports: Ports;
  /** For what else it needs. */
  readonly directory: string;
}

/** A server that answers the cases. */
export interface Contender {
  /** For the command line. */
  readonly name: string;
  readonly title: string;
  readonly kind: 'pod' | 'limit' | 'peer';
  /** What it can read. */
  readonly forms: readonly Form[];
  readonly readyPath: string;
  /**
   * Installs it, if it is not yet.
   *
   * @returns how it is started from then on
   * @throws Error
   */
  readonly install: () => Promise<(assignment: Assignment) => Promise<ServerCommand>>;
}

export const pod: Contender = {
  name: 'slipway',
  title: 'Slipway',
  kind: 'pod',
  forms: ['json', 'binary', 'grpc'],
  readyPath: '/v2/health/ready',
  install:
    async () =>
    async ({ model, ports }) => ({
      command: podCommand(model, ports),
    }),
};

/** The pod as it is built, with more of its options. */
export function podCommand(model: string, ports: Ports, ...more: readonly string[]): readonly string[] {
  return [
    process.execPath,
    // As the image has it.
    ...['--max-semi-space-size=4', '--single-threaded-gc'],
    join(repository, 'dist/inference-pod/src/main.js'),
    ...['--model', model, '--model-name', 'model', '--host', '127.0.0.1', '--log-level', 'error'],
    ...['--port', String(ports.http), '--grpc-port', String(ports.grpc), '--control-port', String(ports.control)],
    ...['--drain-seconds', '0'],
    ...more,
  ];
}

export const limits: readonly Contender[] = [
  limit('same', 'limit: bare node:http, model in the same thread'),
  limit('worker', 'limit: bare node:http, model in a worker thread'),
];

function limit(where: string, title: string): Contender {
  return {
    name: `bare-${where}`,
    title,
    kind: 'limit',
    forms: ['json', 'binary'],
    readyPath: '/',
    install:
      async () =>
      async ({ model, ports }) => ({
        command: [process.execPath, join(import.meta.dirname, 'bare-server.ts'), model, String(ports.http), where],
      }),
  };
}

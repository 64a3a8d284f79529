import { once } from 'node:events';
import { connect } from 'node:http2';
import { callGrpc, type GrpcAnswer } from './grpc-caller.ts';
import { readGrpcAnswer } from './grpc-messages.ts';
import type { Case } from './pod-cases.ts';
import type { Ports } from './running-server.ts';
import type { Outputs } from './tensors.ts';

/** Builds of the runtime differ in the last digits. */
const tolerance = 1e-3;

/**
 * Asks a server once, and looks at every value of its answer.
 *
 * @throws Error for an answer that is not right
 */
export async function verify({ form, headers, body, expected }: Case, ports: Ports): Promise<void> {
  const outputs = form === 'grpc' ? await askByGrpc(ports.grpc, body) : await askByHttp(ports.http, headers, body);
  for (const [name, values] of expected) {
    const answered = outputs.get(name) ?? [];
    const isRight = values.every((value, index) => Math.abs(value - (answered[index] ?? Number.NaN)) <= tolerance);
    if (answered.length !== values.length || !isRight) throw new Error(`the output ${name} is not right`);
  }
}

async function askByHttp(port: number, headers: Case['headers'], body: Buffer<ArrayBuffer>): Promise<Outputs> {
  const response = await fetch(`http://127.0.0.1:${port}/v2/models/model/infer`, { method: 'POST', headers, body });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`status ${response.status}: ${text.slice(0, 200)}`);
  const { outputs }: { outputs: readonly { name: string; data: readonly number[] }[] } = JSON.parse(text);
  return new Map(outputs.map(({ name, data }) => [name, data]));
}

async function askByGrpc(port: number, body: Buffer): Promise<Outputs> {
  const session = connect(`http://127.0.0.1:${port}`);
  try {
    await once(session, 'connect');
    const answer = await new Promise<GrpcAnswer>((resolve) => callGrpc(session, body, resolve));
    if (answer.status !== '0') throw new Error(`gRPC status ${answer.status}: ${answer.message}`);
    return readGrpcAnswer(answer.body);
  } finally {
    session.destroy();
  }
}

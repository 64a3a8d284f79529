/**
 * The worker thread that owns the model. `session.run` blocks its thread, and so does parsing a large body, so both
 * happen here and the main thread always answers health checks, metrics and refusals.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { decodeInferenceRequest, encodeInferenceResponse } from '../protocol/open-inference.ts';
import { RequestError } from '../protocol/request-error.ts';
import { type ModelSession, messageOf, openSession, warmUp } from './session.ts';
import { StartupError } from './startup-error.ts';
import type { InferenceAnswer, InferenceJob, WorkerMessage, WorkerSettings } from './worker-messages.ts';

const encoder = new TextEncoder();

async function main(port: NonNullable<typeof parentPort>, settings: WorkerSettings): Promise<void> {
  const send = (message: WorkerMessage) => port.postMessage(message);
  let session: ModelSession;
  try {
    session = await openSession(settings.path, settings.threads);
  } catch (error) {
    if (!(error instanceof StartupError)) throw error;
    send({ kind: 'failed', failure: { reason: error.reason, message: error.message } });
    return;
  }
  const warmUpRefused = await warmUp(session);
  const { signature, omittedOutputs } = session;
  send({ kind: 'opened', signature, omittedOutputs, ...(warmUpRefused === undefined ? {} : { warmUpRefused }) });

  let previous = Promise.resolve();
  port.on('message', ({ job, body }: InferenceJob) => {
    previous = previous.then(async () => {
      const answer = await infer(session, settings, body);
      port.postMessage({ kind: 'answer', job, answer } satisfies WorkerMessage, [answer.body.buffer]);
    });
  });
}

async function infer(session: ModelSession, { model }: WorkerSettings, body: Uint8Array): Promise<InferenceAnswer> {
  let seconds: number | undefined;
  try {
    const request = decodeInferenceRequest(body, session.signature);
    const start = performance.now();
    const outputs = await session.run(request.inputs, request.outputs);
    seconds = (performance.now() - start) / 1000;
    return { status: 200, body: encoder.encode(encodeInferenceResponse(model, request, outputs)), seconds };
  } catch (error) {
    const status = error instanceof RequestError ? error.status : refusesShape(error) ? 400 : 500;
    const message =
      error instanceof RequestError || error instanceof RangeError
        ? error.message
        : `the model failed: ${messageOf(error)}`;
    return { status, body: encoder.encode(JSON.stringify({ error: message })), seconds };
  }
}

/** onnxruntime judges the shapes of inputs whose rank the model does not tell. */
function refusesShape(error: unknown): boolean {
  return /Got invalid dimensions|Invalid rank for input/.test(messageOf(error));
}

if (parentPort === null) throw new Error('worker.ts runs as a worker thread');
await main(parentPort, workerData as WorkerSettings);

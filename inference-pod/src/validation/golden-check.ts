import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type GoldenVerdict, healthyRevisionsFile } from '../../../contract/src/link.ts';
import type { Scheduler } from '../execution/scheduler.ts';
import { messageOf } from '../model/error-message.ts';
import { StartupError } from '../model/startup-error.ts';
import type { DecodeLimits } from '../protocol/open-inference-request.ts';
import { RequestError } from '../protocol/request-error.ts';
import { differences, type GoldenRequest, parseAnswer, parseGoldenSet } from './golden-set.ts';

export interface GoldenSettings {
  /** Undefined: nothing is checked. */
  readonly goldenSet: string | undefined;
  /** Undefined: any text is taken. */
  readonly goldenSetSha256: string | undefined;
  /** For how long a set that is not there yet, or has another digest, is waited for. */
  readonly goldenSetPatienceSeconds: number;
  readonly revision: string | undefined;
  readonly linkDirectory: string;
  readonly requestTimeoutMilliseconds: number;
}

/** So many differences are told. */
const mostTold = 5;

/**
 * Asks the model what the golden set asks, and compares the answers.
 *
 * A revision that was healthy once only warns: another processor, or somebody who edited the set, must not make its pods
 * unready.
 *
 * @returns undefined when there is no set
 * @throws StartupError GoldenSetFailed that names the differences, or what is wrong with the set
 */
export async function checkGoldenSet(
  settings: GoldenSettings,
  scheduler: Scheduler,
  limits: DecodeLimits,
  log: Logger,
): Promise<GoldenVerdict | undefined> {
  const { goldenSet: path, goldenSetSha256 } = settings;
  if (path === undefined) return undefined;
  try {
    const start = performance.now();
    const text = await goldenText(path, goldenSetSha256, settings.goldenSetPatienceSeconds, log);
    const requests = parsed(text, scheduler, limits);
    const found: string[] = [];
    for (const request of requests) {
      found.push(...(await ask(request, scheduler, limits, settings.requestTimeoutMilliseconds)));
    }
    if (found.length > 0) throw failed(told(found, requests.length));
    const seconds = (performance.now() - start) / 1000;
    log.info({ requests: requests.length, seconds }, 'the model answers as the golden set says');
    return 'Passed';
  } catch (error) {
    if (!(error instanceof StartupError) || !(await wasHealthy(settings))) throw error;
    log.warn(
      { reason: error.message },
      'the golden set fails: the revision was healthy once, so it serves all the same',
    );
    return 'Failed';
  }
}

function failed(message: string, cause?: unknown): StartupError {
  return new StartupError('GoldenSetFailed', message, { cause });
}

function told(found: readonly string[], requests: number): string {
  const more = found.length > mostTold ? `; and ${found.length - mostTold} more` : '';
  return `the model does not answer ${requests} requests as the golden set says: ${found.slice(0, mostTold).join('; ')}${more}`;
}

const pollMilliseconds = 1000;

/** What is mounted follows a ConfigMap a minute late. */
async function goldenText(
  path: string,
  sha256: string | undefined,
  patienceSeconds: number,
  log: Logger,
): Promise<Buffer> {
  const end = performance.now() + patienceSeconds * 1000;
  for (let isTold = false; ; isTold = true) {
    try {
      return await readGoldenText(path, sha256);
    } catch (error) {
      if (!(error instanceof StartupError) || performance.now() >= end) throw error;
      if (!isTold) log.warn({ reason: error.message, patienceSeconds }, 'the golden set is waited for');
      await sleep(pollMilliseconds);
    }
  }
}

async function readGoldenText(path: string, sha256: string | undefined): Promise<Buffer> {
  const text = await readFile(path).catch((error: unknown) => {
    throw failed(`the golden set cannot be read: ${messageOf(error)}`, error);
  });
  const found = createHash('sha256').update(text).digest('hex');
  if (sha256 !== undefined && found !== sha256) {
    throw failed(`the golden set has the digest ${found}, not ${sha256}: set its sha256 to the one that is meant`);
  }
  return text;
}

function parsed(text: Buffer, { model }: Scheduler, limits: DecodeLimits): readonly GoldenRequest[] {
  try {
    return parseGoldenSet(text, model.signature, limits);
  } catch (error) {
    if (error instanceof RequestError) throw failed(`the golden set cannot be used: ${error.message}`, error);
    throw error;
  }
}

async function ask(
  request: GoldenRequest,
  scheduler: Scheduler,
  limits: DecodeLimits,
  milliseconds: number,
): Promise<readonly string[]> {
  const call = { wire: 'open-inference', body: request.body, headerLength: undefined } as const;
  const deadline = { at: performance.now() + milliseconds, milliseconds };
  try {
    const answer = await scheduler.infer(call, deadline, () => false);
    if (answer === undefined) return [];
    if (answer.kind === 'refused') return [`request ${request.name}: was refused: ${answer.message}`];
    if (answer.headerLength !== undefined) return [`request ${request.name}: asks for binary data: ask for JSON`];
    const body = typeof answer.body === 'string' ? Buffer.from(answer.body) : Buffer.concat(answer.body);
    return differences(request, parseAnswer(body, scheduler.model.signature, limits));
  } catch (error) {
    if (error instanceof RequestError) return [`request ${request.name}: ${error.message}`];
    throw error;
  }
}

async function wasHealthy({ revision, linkDirectory }: GoldenSettings): Promise<boolean> {
  if (revision === undefined) return false;
  try {
    const names: unknown = JSON.parse(await readFile(join(linkDirectory, healthyRevisionsFile), 'utf8'));
    return Array.isArray(names) && names.includes(revision);
  } catch {
    // The operator has not said so.
    return false;
  }
}

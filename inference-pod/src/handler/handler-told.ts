import type { AnswerHead, Refusal } from './handler-settings.ts';

/** What the process of a handler has said, which may be anything: undefined for what is not as it should be. */
export function answerIn(text: string): AnswerHead | undefined {
  const told = parsed(text);
  if (told === undefined || !isStatus(told.status, 200) || typeof told.contentType !== 'string') return undefined;
  return /^[\x20-\x7e]{1,256}$/.test(told.contentType)
    ? { status: told.status, contentType: told.contentType }
    : undefined;
}

export function refusalIn(text: string): Refusal | undefined {
  const told = parsed(text);
  if (told === undefined || !isStatus(told.status, 400) || typeof told.message !== 'string') return undefined;
  return { status: told.status, message: told.message };
}

function isStatus(status: unknown, least: number): status is number {
  return typeof status === 'number' && Number.isInteger(status) && status >= least && status <= 599;
}

function parsed(text: string): Readonly<Partial<Record<'status' | 'contentType' | 'message', unknown>>> | undefined {
  try {
    const told: unknown = JSON.parse(text);
    return typeof told === 'object' && told !== null ? told : undefined;
  } catch {
    return undefined;
  }
}

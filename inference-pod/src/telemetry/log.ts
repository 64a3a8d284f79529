import { type Logger, pino } from 'pino';

/** Structured logs on standard output, written before the process can end. Request bodies are never logged. */
export function createLog(level: string, fields: Readonly<Record<string, string | undefined>>): Logger {
  return pino({ level, base: { component: 'inference-pod', ...fields } }, pino.destination({ dest: 1, sync: true }));
}

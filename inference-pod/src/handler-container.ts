/**
 * Process entry of the container beside the one that serves, in which handlers run: a process for each connection, which ends with it.
 */
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { environment, paths } from '../../contract/src/settings.ts';
import { serveHandlers } from './handler/handler-host.ts';
import { createLog } from './telemetry/log.ts';

const log = createLog(process.env[environment.logLevel] ?? 'info', { container: 'handler' });
const path = process.env[environment.handlerSocket] ?? paths.handlerSocket;
const folder = process.env[environment.workDirectory] ?? paths.workDirectory;
const whole = new AbortController();
process.once('exit', () => whole.abort());
// What serves has ended by then.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0));

// Of a process that has ended meanwhile.
await rm(path, { force: true });
createServer((socket) => serveHandlers(socket, { folder, log, signal: whole.signal })).listen(path, () =>
  log.info({ path }, 'handlers run here'),
);

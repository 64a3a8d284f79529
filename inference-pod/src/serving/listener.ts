import { createServer, type RequestListener, type Server } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { StartupError } from '../model/startup-error.ts';

/** Above the idle time of common load balancers (60 s), so that it is the balancer that closes an idle connection. */
const keepAliveMilliseconds = 75_000;

/** @throws StartupError InvalidConfiguration when the port cannot be opened */
export function listen(app: RequestListener, port: number, host: string | undefined): Promise<Server> {
  const server = createServer({ keepAliveTimeout: keepAliveMilliseconds, requestTimeout: 300_000 }, app);
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new StartupError('InvalidConfiguration', `port ${port} cannot be opened: ${error.message}`, { cause: error }),
      ),
    );
    server.listen({ port, host }, () => resolve(server));
  });
}

/** How long a connection may still be open that has no whole request on it: half a head, or a body that never ends. */
const unfinishedMilliseconds = 5000;

/**
 * Takes no more connections, waits until every accepted request is answered, and closes what is left.
 *
 * @param answered resolves once no request is in flight
 */
export async function close(server: Server, answered: () => Promise<void>): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // A connection that is answered after this is idle again, and would be kept for its client's next request.
  const sweep = setInterval(() => server.closeIdleConnections(), 50);
  server.closeIdleConnections();
  await answered();
  await Promise.race([closed, sleep(unfinishedMilliseconds)]);
  clearInterval(sweep);
  server.closeAllConnections();
  await closed;
}

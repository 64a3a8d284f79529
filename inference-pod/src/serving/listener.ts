import { createServer, type RequestListener, type Server } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { StartupError } from '../model/startup-error.ts';

/** Above the idle time of common load balancers (60 s), so that it is the balancer that closes an idle connection. */
const keepAliveMilliseconds = 75_000;
/** A whole head has to be there by then. */
const headMilliseconds = 15_000;
/** Longer than the largest body may take. */
const requestMilliseconds = 300_000;
/** A process can have only so many files open. */
const mostConnections = 8192;

export interface ListenerOptions {
  readonly listener: RequestListener;
  readonly port: number;
  readonly host: string | undefined;
  /** Called with the status of what was no request, and was refused before anyone saw it. */
  readonly onMalformed?: (status: number) => void;
}

/** @throws StartupError InvalidConfiguration when the port cannot be opened */
export function listen({ listener, port, host, onMalformed }: ListenerOptions): Promise<Server> {
  const server = createServer(
    {
      keepAliveTimeout: keepAliveMilliseconds,
      headersTimeout: headMilliseconds,
      connectionsCheckingInterval: 1000,
      // Bodies have a limit of their own, which goes by their size, once they have begun.
      requestTimeout: requestMilliseconds,
    },
    listener,
  );
  server.maxConnections = mostConnections;
  // A client that asks first is told to go on by who reads the body, or is refused without having sent it.
  server.on('checkContinue', listener);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const [status, reason] = malformed(error.code);
    // A client that has gone, or goes on after an answer, is nobody to answer.
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    onMalformed?.(status);
    const body = JSON.stringify({ error: reason });
    socket.end(
      `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    );
  });
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new StartupError('InvalidConfiguration', `port ${port} cannot be opened: ${error.message}`, { cause: error }),
      ),
    );
    server.listen({ port, host }, () => resolve(server));
  });
}

function malformed(code: string | undefined): readonly [number, string] {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return [431, 'the head of the request is too large'];
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return [413, 'the chunk extensions are too large'];
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return [408, 'the head of the request comes too slowly'];
    default:
      return [400, 'this is not HTTP/1.1'];
  }
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
  // A body that was whole by now is answered as well.
  await answered();
  clearInterval(sweep);
  server.closeAllConnections();
  await closed;
}

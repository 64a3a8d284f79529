import { type RequestListener, Server, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { UnderWay } from '../execution/under-way.ts';
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

/** A server that knows which requests it has not answered whole. */
export class HttpServer extends Server {
  /** From the head of a request to the end of its answer. */
  readonly open = new UnderWay<ServerResponse>();

  /** Those whose answers are not sent yet are not idle, whatever Node says. */
  override closeIdleConnections(): void {
    if (this.open.size === 0) super.closeIdleConnections();
  }
}

/** @throws StartupError InvalidConfiguration when the port cannot be opened */
export function listen({ listener, port, host, onMalformed }: ListenerOptions): Promise<HttpServer> {
  const answer: RequestListener = (request, response) => {
    const member = server.open.add(response);
    response.on('close', () => {
      server.open.remove(member);
      // A connection that is answered while the server ends would be kept for its client's next request.
      if (!server.listening) request.socket.end();
    });
    listener(request, response);
  };
  const server = new HttpServer(
    {
      keepAliveTimeout: keepAliveMilliseconds,
      headersTimeout: headMilliseconds,
      connectionsCheckingInterval: 1000,
      // Bodies have a limit of their own, which goes by their size, once they have begun.
      requestTimeout: requestMilliseconds,
    },
    answer,
  );
  server.maxConnections = mostConnections;
  // A client that asks first is told to go on by who reads the body, or is refused without having sent it.
  server.on('checkContinue', answer);
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
const pollMilliseconds = 20;

/**
 * Takes no more connections, waits until every accepted request is answered and the answer is sent, and closes what is
 * left.
 *
 * @param answered resolves once no request is in flight
 * @param mostMilliseconds after which what is left is closed, whatever it is
 */
export async function close(
  server: HttpServer,
  answered: () => Promise<void>,
  mostMilliseconds: number,
): Promise<void> {
  const end = performance.now() + mostMilliseconds;
  const within = (milliseconds: number) => sleep(Math.max(0, Math.min(milliseconds, end - performance.now())));
  // Node takes a connection for idle, and closes it, whose answer is made but not sent.
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  await Promise.race([answered(), within(mostMilliseconds)]);
  for (let waited = 0; waited < unfinishedMilliseconds && server.open.size > 0; waited += pollMilliseconds) {
    await within(pollMilliseconds);
  }
  // A body that was whole by now is answered as well, and an answer that its client reads is sent.
  await Promise.race([answered(), within(mostMilliseconds)]);
  while (server.open.values.some(isBeingSent) && performance.now() < end) await within(pollMilliseconds);
  server.closeAllConnections();
  await closed;
}

/** Whether the answer was made, and its client has not gone. */
function isBeingSent(response: ServerResponse): boolean {
  return response.writableEnded && !response.destroyed;
}

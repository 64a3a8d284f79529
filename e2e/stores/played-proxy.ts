import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import { portOf } from '../free-port.ts';

/** A proxy that looks up names itself: wherever it is said to lead, it leads to one port of this machine. */
export interface PlayedProxy {
  readonly url: string;
  /** Where it was said to lead. */
  readonly tunnels: readonly string[];
  close(): void;
}

export async function startProxy(target: { address(): unknown }): Promise<PlayedProxy> {
  const tunnels: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((_, response) => response.writeHead(405).end())
    .on('connect', ({ url = '' }, socket: Socket) => {
      tunnels.push(url);
      const far = connect(portOf(target), '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
      far.pipe(socket).pipe(far);
      for (const one of [socket, far]) {
        sockets.add(one);
        one.on('error', () => far.destroy());
      }
    })
    .listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${portOf(server)}`,
    tunnels,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

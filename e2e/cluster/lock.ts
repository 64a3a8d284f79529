import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { cacheFolder } from './cache.ts';
import { print } from './progress.ts';

const everyMilliseconds = 500;

/**
 * Does something while nobody else on this machine does something with the cluster of this cache folder. The lock is a
 * socket in the kernel's own namespace, which goes with its process, however that ends.
 */
export async function locked<T>(work: () => Promise<T>): Promise<T> {
  const socket = await take(`slipway-cluster-${createHash('sha256').update(cacheFolder).digest('hex')}`);
  try {
    return await work();
  } finally {
    socket.close();
  }
}

async function take(name: string): Promise<Server> {
  for (let told = false; ; told = true) {
    const socket = await listen(name);
    if (socket !== undefined) return socket;
    if (!told) print('waiting for another process that is at work on the cluster');
    await sleep(everyMilliseconds);
  }
}

/** @returns undefined when another has the name */
function listen(name: string): Promise<Server | undefined> {
  const server = createServer((connection) => connection.destroy());
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    // A name that begins with NUL is no file.
    server.listen(`\0${name}`, () => resolve(server));
  });
}

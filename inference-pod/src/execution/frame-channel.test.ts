import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

test('many small pieces are written as quickly as few, each byte once', async () => {
  const source = `
    import { FrameChannel } from ${JSON.stringify(join(import.meta.dirname, 'frame-channel.ts'))};
    const pieces = Array.from({ length: 300_000 }, (_, index) => Uint8Array.of(index % 251, index % 7));
    pieces.splice(1000, 0, new Uint8Array(3_000_000).fill(9), new Uint8Array());
    new FrameChannel(1).write(pieces);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const found = createHash('sha256');
  let bytes = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    found.update(chunk);
  });
  await once(child, 'close');
  const expected = createHash('sha256');
  for (let index = 0; index < 300_000; index++) {
    if (index === 1000) expected.update(new Uint8Array(3_000_000).fill(9));
    expected.update(Uint8Array.of(index % 251, index % 7));
  }
  expect(bytes).toBe(3_600_000);
  expect(found.digest('hex')).toBe(expected.digest('hex'));
}, 30_000);

import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Packet, packetLine, packetsOf } from './git-packets.ts';

async function read(bytes: Buffer, chunkBytes: number): Promise<readonly (string | undefined)[]> {
  async function* chunks() {
    for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
  }
  const told: string[] = [];
  const textOf = (packet: Packet) => (packet.kind === 'line' ? packet.bytes.toString() : packet.kind);
  for await (const packet of packetsOf(chunks())) told.push(textOf(packet));
  return told;
}

test.each([1, 3, 1000])('lines and what stands between them are read, %d bytes at a time', async (chunkBytes) => {
  const bytes = Buffer.from(`${packetLine('version 2')}0004${packetLine('é')}000100020000`);
  expect(await read(bytes, chunkBytes)).toEqual(['version 2\n', '', 'é\n', 'delimiter', 'end', 'flush']);
});

test.each([
  ['<html><body>', "is not Git's protocol"],
  ['0003', "is not Git's protocol"],
  ['0009vers', 'it ended within a line'],
  ['00', 'it ended within a line'],
])('%s is refused', async (text, problem) => {
  await expect(read(Buffer.from(text), 5)).rejects.toThrow(problem);
});

test('whatever comes, it is read or refused', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 50 }), async (bytes, chunkBytes) => {
      await read(Buffer.from(bytes), chunkBytes).catch((error: unknown) =>
        expect(String(error)).toMatch(/Git's protocol|within a line/),
      );
    }),
    { numRuns: 500 },
  );
});

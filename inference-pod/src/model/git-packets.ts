import { Passing } from './passing-failure.ts';
import { StartupError } from './startup-error.ts';

/** A line of those in which Git's clients and servers talk, or what stands between such lines. */
export type Packet =
  | { readonly kind: 'line'; readonly bytes: Buffer }
  | { readonly kind: 'flush' | 'delimiter' | 'end' };

const lengthDigits = 4;

/** A line as it is sent, by its length in hexadecimal (gitprotocol-common, "pkt-line Format"). */
export function packetLine(text: string): string {
  const line = `${text}\n`;
  return (Buffer.byteLength(line) + lengthDigits).toString(16).padStart(lengthDigits, '0') + line;
}

/** What ends a message, and what stands between its parts (gitprotocol-v2, "Packet-Line Framing"). */
export const flushPacket = '0000';
export const delimiterPacket = '0001';

/**
 * Reads lines.
 *
 * @throws StartupError ModelFetchFailed for what is none; Passing where it ends within one
 */
export async function* packetsOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<Packet, void> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (;;) {
      const length = lengthOf(rest);
      if (length === undefined || rest.length < Math.max(length, lengthDigits)) break;
      yield packetOf(length, rest);
      rest = rest.subarray(Math.max(length, lengthDigits));
    }
  }
  if (rest.length > 0) throw new Passing("it ended within a line of Git's");
}

function lengthOf(bytes: Buffer): number | undefined {
  if (bytes.length < lengthDigits) return undefined;
  const digits = bytes.toString('latin1', 0, lengthDigits);
  if (!/^[0-9a-f]{4}$/i.test(digits)) throw unlikeGit();
  return Number.parseInt(digits, 16);
}

function packetOf(length: number, bytes: Buffer): Packet {
  switch (length) {
    case 0:
      return { kind: 'flush' };
    case 1:
      return { kind: 'delimiter' };
    case 2:
      return { kind: 'end' };
    case 3:
      throw unlikeGit();
    default:
      return { kind: 'line', bytes: bytes.subarray(lengthDigits, length) };
  }
}

export function textOfLine(bytes: Buffer): string {
  return bytes.toString().replace(/\n$/, '');
}

/** What a server says, for people. */
export function shownText(text: string): string {
  return text.slice(0, 256).replace(/[^\x20-\x7e]/g, '?');
}

export function unlikeGit(): StartupError {
  return new StartupError(
    'ModelFetchFailed',
    "the server answers with what is not Git's protocol: check spec.model.uri, which must lead to a repository that can be cloned",
  );
}

import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { RandomAccessReader } from 'yauzl';

const chunkSize = 65_536;

/** A zip that is read here and there, and nowhere else than in its file: what it says of its own places may be anything. */
export class ZipReader extends RandomAccessReader {
  readonly #file: FileHandle;
  readonly #size: number;

  constructor(file: FileHandle, size: number) {
    super();
    this.#file = file;
    this.#size = size;
  }

  override _readStreamForRange(start: number, end: number): Readable {
    return Readable.from(this.#chunks(start, end), { objectMode: false });
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null) => void,
  ): void {
    this.#fill(buffer.subarray(offset, offset + length), position).then(
      () => callback(null),
      (error) => callback(error),
    );
  }

  async *#chunks(start: number, end: number): AsyncGenerator<Buffer, void> {
    for (let at = start; at < end; at += chunkSize) {
      const chunk = Buffer.allocUnsafe(Math.min(chunkSize, end - at));
      await this.#fill(chunk, at);
      yield chunk;
    }
  }

  async #fill(chunk: Buffer, position: number): Promise<void> {
    if (!(position >= 0 && position + chunk.length <= this.#size)) throw new Error('it names places outside of itself');
    for (let done = 0; done < chunk.length; ) {
      const { bytesRead } = await this.#file.read(chunk, done, chunk.length - done, position + done);
      if (bytesRead === 0) throw new Error('it has become shorter');
      done += bytesRead;
    }
  }
}

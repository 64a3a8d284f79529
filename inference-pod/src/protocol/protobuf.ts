import { badRequest, type RequestError } from './request-error.ts';

/** How a field is laid out: its wire type in the encoding of Protocol Buffers. */
export const wireTypes = { varint: 0, fixed64: 1, length: 2, fixed32: 5 } as const;

/**
 * Reads a message of Protocol Buffers field by field from its bytes. Nothing is built that the caller does not ask for, so
 * that a message takes no more memory than its bytes and what it means.
 *
 * Every method throws a RequestError 400 for bytes that are no message.
 */
export class ProtobufReader {
  readonly bytes: Buffer;
  #position = 0;
  #wireType = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** The number of the next field, whose value is then to be read or skipped; undefined at the end. */
  field(): number | undefined {
    if (this.#position >= this.bytes.length) return undefined;
    const key = this.varint();
    this.#wireType = key % 8;
    return Math.floor(key / 8);
  }

  /** How the field is laid out whose number was read last. */
  get wireType(): number {
    return this.#wireType;
  }

  /** Where the next byte is read. */
  get position(): number {
    return this.#position;
  }

  get isAtEnd(): boolean {
    return this.#position >= this.bytes.length;
  }

  /** A number of up to 64 bits; above 2^53 it is rounded. */
  varint(): number {
    let value = 0;
    for (let scale = 1; scale < 2 ** 70; scale *= 128) {
      const byte = this.bytes[this.#position++];
      if (byte === undefined) throw malformed();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw malformed();
  }

  /** A number of 64 bits, exactly, as it stands: without a sign. */
  varint64(): bigint {
    const start = this.#position;
    const rounded = this.varint();
    if (rounded <= Number.MAX_SAFE_INTEGER) return BigInt(rounded);
    let value = 0n;
    for (let index = start; index < this.#position; index++) {
      value |= BigInt((this.bytes[index] ?? 0) & 0x7f) << BigInt(7 * (index - start));
    }
    return BigInt.asUintN(64, value);
  }

  /** The bytes of a string, of bytes, of a message or of a packed list: a view. */
  view(): Buffer {
    if (this.#wireType !== wireTypes.length) throw malformed();
    const length = this.varint();
    const end = this.#position + length;
    if (end > this.bytes.length) throw malformed();
    const view = this.bytes.subarray(this.#position, end);
    this.#position = end;
    return view;
  }

  text(): string {
    return this.view().toString();
  }

  /** A number that is not packed. */
  number(): number {
    if (this.#wireType !== wireTypes.varint) throw malformed();
    return this.varint();
  }

  skip(): void {
    switch (this.#wireType) {
      case wireTypes.varint:
        this.varint();
        return;
      case wireTypes.fixed64:
        this.#pass(8);
        return;
      case wireTypes.length:
        this.view();
        return;
      case wireTypes.fixed32:
        this.#pass(4);
        return;
      default:
        throw malformed();
    }
  }

  /** The bytes of a number of a fixed size. */
  fixed(size: number): Buffer {
    const start = this.#position;
    this.#pass(size);
    return this.bytes.subarray(start, start + size);
  }

  #pass(bytes: number): void {
    this.#position += bytes;
    if (this.#position > this.bytes.length) throw malformed();
  }
}

function malformed(): RequestError {
  return badRequest('the message is not what its definition says: it cannot be decoded');
}

/** -1 as a number of 64 bits. */
const minusOne = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];

const floatView = new DataView(new ArrayBuffer(4));

/** Pieces up to this size are copied together: each piece of its own costs whoever sends it. */
const mostCopiedBytes = 1024;
/** So much is copied together at most. */
const mostTogetherBytes = 65_536;

/** Writes a message of Protocol Buffers, whose large parts stay where they are. */
export class ProtobufWriter {
  readonly #pieces: Uint8Array[] = [];
  #together = new Uint8Array(32);
  #used = 0;
  #length = 0;

  /** The bytes that were written so far. */
  get length(): number {
    return this.#length + this.#used;
  }

  #room(bytes: number): void {
    if (this.#used + bytes <= this.#together.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#together.length, this.#used + bytes));
    larger.set(this.#together.subarray(0, this.#used));
    this.#together = larger;
  }

  #byte(value: number): void {
    this.#room(1);
    this.#together[this.#used++] = value;
  }

  #varint(value: number): void {
    let rest = value;
    while (rest >= 128) {
      this.#byte((rest % 128) + 128);
      rest = Math.floor(rest / 128);
    }
    this.#byte(rest);
  }

  #cut(): void {
    if (this.#used === 0) return;
    this.#pieces.push(this.#together.subarray(0, this.#used));
    this.#length += this.#used;
    this.#together = new Uint8Array(32);
    this.#used = 0;
  }

  /** A whole number from -1 to 2^53, or a boolean. */
  number(field: number, value: number | boolean): this {
    this.#varint(field * 8 + wireTypes.varint);
    this.#whole(Number(value));
    return this;
  }

  #whole(value: number): void {
    if (value >= 0) this.#varint(value);
    else for (const byte of minusOne) this.#byte(byte);
  }

  float(field: number, value: number): this {
    this.#varint(field * 8 + wireTypes.fixed32);
    floatView.setFloat32(0, value, true);
    for (let index = 0; index < 4; index++) this.#byte(floatView.getUint8(index));
    return this;
  }

  text(field: number, value: string): this {
    return value === '' ? this : this.bytes(field, Buffer.from(value));
  }

  bytes(field: number, value: Uint8Array): this {
    this.#varint(field * 8 + wireTypes.length);
    this.#varint(value.length);
    return this.piece(value);
  }

  /** A packed list of whole numbers up to 2^53, of which -1 is the only negative one. */
  numbers(field: number, values: readonly number[]): this {
    if (values.length === 0) return this;
    const packed = new ProtobufWriter();
    for (const value of values) packed.#whole(value);
    return this.message(field, packed);
  }

  /** Bytes that are fields already. */
  piece(bytes: Uint8Array): this {
    if (bytes.length > mostCopiedBytes) {
      this.#cut();
      this.#pieces.push(bytes);
      this.#length += bytes.length;
      return this;
    }
    if (this.#used + bytes.length > mostTogetherBytes) this.#cut();
    this.#room(bytes.length);
    this.#together.set(bytes, this.#used);
    this.#used += bytes.length;
    return this;
  }

  message(field: number, message: ProtobufWriter): this {
    this.#varint(field * 8 + wireTypes.length);
    this.#varint(message.length);
    for (const piece of message.finish()) this.piece(piece);
    return this;
  }

  finish(): readonly Uint8Array[] {
    this.#cut();
    return this.#pieces;
  }
}

/** All that a message has in one field that is itself a message: several occurrences mean the same as one of all their bytes. */
export function mergedField(message: Buffer, wanted: number): Buffer | undefined {
  return mergedMember(message, [wanted])?.bytes;
}

/** The member of a oneof that stands last, which is the one that counts, with its occurrences in one. */
export function mergedMember(
  message: Buffer,
  members: readonly number[],
): { readonly field: number; readonly bytes: Buffer } | undefined {
  const reader = new ProtobufReader(message);
  let last = 0;
  let parts: Buffer[] = [];
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (!members.includes(field)) {
      reader.skip();
      continue;
    }
    if (field !== last) parts = [];
    last = field;
    parts.push(reader.view());
  }
  const [only, ...others] = parts;
  if (only === undefined) return undefined;
  return { field: last, bytes: others.length === 0 ? only : Buffer.concat(parts) };
}

import { closeSync, openSync, readSync } from 'node:fs';
import { posix } from 'node:path';
import { StartupError } from './startup-error.ts';

/** The fields of onnx.proto that lead to tensors, by their numbers. */
const fields = {
  model: { 7: 'graph', 25: 'function' },
  graph: { 1: 'node', 5: 'tensor', 15: 'sparse' },
  function: { 7: 'node' },
  node: { 5: 'attribute' },
  attribute: { 5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph', 22: 'sparse', 23: 'sparse' },
  sparse: { 1: 'tensor', 2: 'tensor' },
} as const satisfies Record<string, Record<number, string>>;
type Message = keyof typeof fields;
const nested: Readonly<Record<Message, Readonly<Record<number, Message | 'tensor'>>>> = fields;

const tensor = { externalData: 13, dataLocation: 14 };
const external = 1;
const entry = { key: 1, value: 2 };

/** Graphs within operators of graphs within operators. */
const mostDepth = 128;
/** The longest name of a file that Linux has. */
const mostLocation = 4096;
const mostLocations = 1024;

/**
 * The files beside a model in which it has its larger tensors (onnx.proto: TensorProto.external_data), relative to its folder. Only what
 * leads there is read of the model's own file, however large that is.
 *
 * @returns none for what is no ONNX model
 * @throws StartupError ModelInvalid for a file that is outside of the model's folder, or for too many
 */
export function externalDataOf(path: string): readonly string[] {
  const file = new Pages(path);
  const found = new Set<string>();
  try {
    walk(file, 'model', 0, Number.POSITIVE_INFINITY, 0, found);
  } catch (error) {
    if (error instanceof NoModel) return [];
    throw error;
  } finally {
    file.close();
  }
  return Array.from(found).sort();
}

class NoModel extends Error {}

function walk(file: Pages, message: Message, start: number, end: number, depth: number, into: Set<string>): void {
  if (depth > mostDepth) throw new NoModel();
  for (const { field, from, to } of fieldsOf(file, start, end)) {
    const inner = nested[message][field];
    if (inner === undefined || from === undefined) continue;
    if (inner === 'tensor') readTensor(file, from, to, into);
    else walk(file, inner, from, to, depth + 1, into);
  }
}

function readTensor(file: Pages, start: number, end: number, into: Set<string>): void {
  let location: string | undefined;
  let isExternal = false;
  for (const { field, from, to, value } of fieldsOf(file, start, end)) {
    if (field === tensor.dataLocation) isExternal = value === external;
    if (field !== tensor.externalData || from === undefined) continue;
    const { key, value: told } = readEntry(file, from, to);
    if (key === 'location') location = told;
  }
  if (!isExternal || location === undefined) return;
  into.add(withinFolder(location));
  if (into.size > mostLocations)
    throw new StartupError('ModelInvalid', `the model has its data in more than ${mostLocations} files`);
}

function readEntry(file: Pages, start: number, end: number): { readonly key: string; readonly value: string } {
  const texts = { key: '', value: '' };
  for (const { field, from, to } of fieldsOf(file, start, end)) {
    if (from === undefined || to - from > mostLocation) continue;
    if (field === entry.key) texts.key = file.text(from, to);
    else if (field === entry.value) texts.value = file.text(from, to);
  }
  return texts;
}

function withinFolder(location: string): string {
  const normal = posix.normalize(location);
  const isOutside = normal === '.' || normal === '..' || normal.startsWith('../') || posix.isAbsolute(normal);
  if (isOutside || /[\\\0]/.test(normal) || normal.endsWith('/'))
    throw new StartupError(
      'ModelInvalid',
      `the model has data in '${location.slice(0, 256)}', which is no file within its folder: that is refused`,
    );
  return normal;
}

interface Field {
  readonly field: number;
  /** Where its bytes are; undefined for what has none of its own. */
  readonly from: number | undefined;
  readonly to: number;
  /** Of a varint. */
  readonly value: number | undefined;
}

function* fieldsOf(file: Pages, start: number, end: number): Generator<Field> {
  let offset = start;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = file.byteAt(offset++);
      if (byte === undefined) break;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new NoModel();
  };
  while (offset < end && file.byteAt(offset) !== undefined) {
    const key = varint();
    const field = Math.floor(key / 8);
    switch (key % 8) {
      case 0: {
        const value = varint();
        yield { field, from: undefined, to: offset, value };
        break;
      }
      case 1:
        offset += 8;
        break;
      case 2: {
        const length = varint();
        const from = offset;
        if (from + length > end || (length > 0 && file.byteAt(from + length - 1) === undefined)) throw new NoModel();
        yield { field, from, to: from + length, value: undefined };
        offset = from + length;
        break;
      }
      case 5:
        offset += 4;
        break;
      default:
        throw new NoModel();
    }
  }
}

const pageBytes = 65_536;

/** A file that is read here and there, by pages. */
class Pages {
  readonly #file: number;
  readonly #pages = [Buffer.alloc(pageBytes), Buffer.alloc(pageBytes)];
  /** Which page is in each place, and how much of it there is. */
  readonly #known = [
    { page: -1, bytes: 0 },
    { page: -1, bytes: 0 },
  ];
  #last = 0;

  constructor(path: string) {
    this.#file = openSync(path, 'r');
  }

  /** @returns undefined behind the end */
  byteAt(offset: number): number | undefined {
    const page = Math.floor(offset / pageBytes);
    const place = this.#placeOf(page);
    const at = offset - page * pageBytes;
    return at < (this.#known[place]?.bytes ?? 0) ? this.#pages[place]?.[at] : undefined;
  }

  text(from: number, to: number): string {
    const bytes = Buffer.alloc(to - from);
    readSync(this.#file, bytes, 0, bytes.length, from);
    return bytes.toString();
  }

  close(): void {
    closeSync(this.#file);
  }

  /** The end of a tensor is looked at, and then what is behind its beginning: two pages are kept. */
  #placeOf(page: number): number {
    const known = this.#known.findIndex((one) => one.page === page);
    if (known !== -1) return known;
    this.#last = 1 - this.#last;
    const buffer = this.#pages[this.#last] ?? Buffer.alloc(pageBytes);
    this.#known[this.#last] = { page, bytes: readSync(this.#file, buffer, 0, pageBytes, page * pageBytes) };
    return this.#last;
  }
}

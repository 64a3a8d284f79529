import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { posix } from 'node:path';
import { setImmediate as immediate } from 'node:timers/promises';
import { StartupError } from './startup-error.ts';

/** The fields of onnx.proto that lead to tensors and to operators, by their numbers. */
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

const node = { type: 4, domain: 7 };
const functionOf = { name: 1, domain: 10 };
const tensor = { externalData: 13, dataLocation: 14 };
const external = 1;
const entry = { key: 1, value: 2 };

/** Graphs within operators of graphs within operators. */
const mostDepth = 128;
/** The longest name of a file that Linux has. */
const mostLocation = 4096;
const mostLocations = 1024;
/** A forest of a gigabyte has hundreds of millions, one for each number: the pod answers its probes meanwhile. */
const fieldsAtOnce = 2 ** 18;

/** The domains of operators that are ONNX's own. */
const ownDomains = ['', 'ai.onnx', 'ai.onnx.ml', 'ai.onnx.training', 'ai.onnx.preview', 'ai.onnx.preview.training'];
/** So many kinds of other operators are told of. */
const mostKinds = 64;

/**
 * The files beside a model in which it has its larger tensors (onnx.proto: TensorProto.external_data), relative to its folder. Only what
 * leads there is read of the model's own file, however large that is.
 *
 * @returns none for what is no ONNX model
 * @throws StartupError ModelInvalid for a file that is outside of the model's folder, or for too many; the reason of the signal
 */
export async function externalDataOf(path: string, signal: AbortSignal): Promise<readonly string[]> {
  const found = await readNeeds(path, signal);
  return Array.from(found?.locations ?? []).sort();
}

/**
 * The operators of a model that are neither ONNX's own nor functions of the model itself, as DOMAIN.TYPE. Of its file is read what
 * leads there.
 *
 * @returns none for what is no ONNX model
 * @throws StartupError ModelInvalid; the reason of the signal
 */
export async function foreignOperatorsOf(path: string, signal: AbortSignal): Promise<readonly string[]> {
  const { operators, functions } = (await readNeeds(path, signal)) ?? {
    operators: new Set<string>(),
    functions: new Set(),
  };
  return Array.from(operators)
    .filter((operator) => !functions.has(operator))
    .sort();
}

/** What a model has need of beside its own file. */
interface Needs {
  readonly locations: Set<string>;
  /** Those of its operators that are not ONNX's own. */
  readonly operators: Set<string>;
  /** What it has as functions. */
  readonly functions: Set<string>;
}

/** @returns undefined for what is no ONNX model */
async function readNeeds(path: string, signal: AbortSignal): Promise<Needs | undefined> {
  const file = new Pages(path);
  const found: Needs = { locations: new Set(), operators: new Set(), functions: new Set() };
  try {
    for (const _ of walk(file, 'model', 0, Number.POSITIVE_INFINITY, 0, found)) {
      await immediate();
      signal.throwIfAborted();
    }
    return found;
  } catch (error) {
    if (error instanceof NoModel) return undefined;
    throw error;
  } finally {
    file.close();
  }
}

class NoModel extends Error {}

/** Where others may have their turn. */
type Pauses = Generator<undefined, void>;

function* walk(file: Pages, message: Message, start: number, end: number, depth: number, into: Needs): Pauses {
  if (depth > mostDepth) throw new NoModel();
  const texts = new Map<number, Field>();
  for (const field of fieldsOf(file, start, end)) {
    if (field === undefined) yield;
    if (field?.from === undefined) continue;
    const inner = nested[message][field.field];
    if (inner === 'tensor') yield* readTensor(file, field.from, field.to, into.locations);
    else if (inner !== undefined) yield* walk(file, inner, field.from, field.to, depth + 1, into);
    else if (message === 'node' || message === 'function') texts.set(field.field, field);
  }
  if (message === 'node') note(into.operators, textOf(file, texts, node.domain), () => textOf(file, texts, node.type));
  if (message === 'function')
    note(into.functions, textOf(file, texts, functionOf.domain), () => textOf(file, texts, functionOf.name));
}

function textOf(file: Pages, texts: ReadonlyMap<number, Field>, number: number): string {
  const field = texts.get(number);
  if (field?.from === undefined) return '';
  return file.text(field.from, Math.min(field.to, field.from + mostLocation));
}

function note(into: Set<string>, domain: string, type: () => string): void {
  if (!ownDomains.includes(domain) && into.size < mostKinds) into.add(`${domain}.${type()}`);
}

function* readTensor(file: Pages, start: number, end: number, into: Set<string>): Pauses {
  let location: string | undefined;
  let isExternal = false;
  for (const field of fieldsOf(file, start, end)) {
    if (field === undefined) yield;
    if (field?.field === tensor.dataLocation) isExternal = field.value === external;
    if (field?.field !== tensor.externalData || field.from === undefined) continue;
    const { key, value: told } = yield* readEntry(file, field.from, field.to);
    if (key === 'location') location = told;
  }
  if (!isExternal || location === undefined) return;
  into.add(withinFolder(location));
  if (into.size > mostLocations)
    throw new StartupError('ModelInvalid', `the model has its data in more than ${mostLocations} files`);
}

function* readEntry(
  file: Pages,
  start: number,
  end: number,
): Generator<undefined, { readonly key: string; readonly value: string }> {
  const texts = { key: '', value: '' };
  for (const field of fieldsOf(file, start, end)) {
    if (field === undefined) yield;
    if (field?.from === undefined || field.to - field.from > mostLocation) continue;
    if (field.field === entry.key) texts.key = file.text(field.from, field.to);
    else if (field.field === entry.value) texts.value = file.text(field.from, field.to);
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

/** The fields of a message that have bytes of their own, and where a tensor says that its data is; undefined now and then. */
function* fieldsOf(file: Pages, start: number, end: number): Generator<Field | undefined, void> {
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
    if (file.isLongAtIt()) yield;
    const key = varint();
    const field = Math.floor(key / 8);
    // Protobuf has no such field: what is full of zeros is no model.
    if (field === 0) throw new NoModel();
    switch (key % 8) {
      case 0: {
        const value = varint();
        if (field === tensor.dataLocation) yield { field, from: undefined, to: offset, value };
        break;
      }
      case 1:
        offset += 8;
        break;
      case 2: {
        const length = varint();
        const from = offset;
        if (from + length > end || !file.reaches(from + length)) throw new NoModel();
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

interface Page {
  readonly buffer: Buffer;
  start: number;
  /** How much of it there is. */
  bytes: number;
}

const emptyPage = (): Page => ({ buffer: Buffer.alloc(pageBytes), start: 0, bytes: 0 });

/** A file that is read here and there, by pages. */
class Pages {
  readonly #file: number;
  readonly #size: number;
  /** The end of a tensor is looked at, and then what is behind its beginning: two pages are kept, the last one first. */
  #last = emptyPage();
  #other = emptyPage();
  #fields = 0;

  constructor(path: string) {
    this.#file = openSync(path, 'r');
    this.#size = fstatSync(this.#file).size;
  }

  /** @returns undefined behind the end */
  byteAt(offset: number): number | undefined {
    const at = offset - this.#last.start;
    if (at >= 0 && at < this.#last.bytes) return this.#last.buffer[at];
    return this.#elsewhere(offset);
  }

  /** Told once for each field. */
  isLongAtIt(): boolean {
    this.#fields += 1;
    return this.#fields % fieldsAtOnce === 0;
  }

  reaches(end: number): boolean {
    return end <= this.#size;
  }

  text(from: number, to: number): string {
    const bytes = Buffer.alloc(to - from);
    readSync(this.#file, bytes, 0, bytes.length, from);
    return bytes.toString();
  }

  close(): void {
    closeSync(this.#file);
  }

  #elsewhere(offset: number): number | undefined {
    const { start, bytes } = this.#other;
    [this.#last, this.#other] = [this.#other, this.#last];
    if (offset < start || offset >= start + bytes) {
      this.#last.start = offset - (offset % pageBytes);
      this.#last.bytes = readSync(this.#file, this.#last.buffer, 0, pageBytes, this.#last.start);
    }
    const at = offset - this.#last.start;
    return at < this.#last.bytes ? this.#last.buffer[at] : undefined;
  }
}

import { elementBytes, stringBytes } from './binary-tensors.ts';
import {
  type Datatype,
  elementCount,
  type Signature,
  type Tensor,
  type TensorData,
  type TensorSignature,
} from './datatypes.ts';
import { shorten } from './json-reader.ts';
import { badRequest } from './request-error.ts';
import { describeSignature } from './tensor-shape.ts';

/** What is said of a column of the rows that a model takes. */
export interface Column {
  readonly name: string;
  /** Words for which the model takes their places, from 0 on. */
  readonly categories?: readonly string[] | undefined;
}

/** A model takes no rows of columns, or others than are said. */
export class UnfitTable extends Error {
  override readonly name = 'UnfitTable';
}

/** A value as a client gives it; null for one that is missing. */
export type Cell = number | bigint | string | boolean | null;

/** A column, and where its values go. */
export interface TableColumn {
  /** Its place among all of the model. */
  readonly index: number;
  /** Undefined where nobody has named it. */
  readonly name: string | undefined;
  readonly categories: ReadonlyMap<string, number> | undefined;
  readonly input: TensorSignature;
  /** Its place in a row of the input, which is so wide. */
  readonly place: number;
  readonly width: number;
}

/** The columns that a model takes. */
export interface TableForm {
  readonly columns: readonly TableColumn[];
  /** Undefined where nobody has named them. */
  readonly byName: ReadonlyMap<string, TableColumn> | undefined;
}

/** Numbers that can be missing. */
const floats: ReadonlySet<Datatype> = new Set(['FP16', 'FP32', 'FP64']);

/** A process has one model, and each request needs this. */
const tables = new WeakMap<Signature, TableForm>();

/**
 * The columns that a model takes: an input for each, or one input that has them side by side.
 *
 * @param named what is said of them, all of one input or some of several
 * @throws UnfitTable
 */
export function tableOf(signature: Signature, named: readonly Column[] | undefined): TableForm {
  const known = tables.get(signature);
  if (known !== undefined) return known;
  const [only, ...others] = signature.inputs;
  const isMatrix = only !== undefined && others.length === 0 && only.shape.length === 2 && only.shape[1] !== 1;
  const columns = isMatrix ? columnsOfMatrix(only, named) : columnsOfInputs(signature.inputs, named);
  const names = columns.flatMap((column) => (column.name === undefined ? [] : [[column.name, column] as const]));
  const table = { columns, byName: names.length === 0 ? undefined : new Map(names) };
  tables.set(signature, table);
  return table;
}

function columnsOfMatrix(input: TensorSignature, named: readonly Column[] | undefined): readonly TableColumn[] {
  const [, given = -1] = input.shape;
  const width = given === -1 ? named?.length : given;
  if (width === undefined)
    throw new UnfitTable(`the input ${describeSignature(input)} does not say how many columns it has: name them`);
  if (named !== undefined && named.length !== width)
    throw new UnfitTable(`${named.length} columns are named, and the input ${describeSignature(input)} has ${width}`);
  return Array.from({ length: width }, (_, place) => columnOf(input, named?.[place], { index: place, place, width }));
}

function columnsOfInputs(inputs: Signature['inputs'], named: readonly Column[] = []): readonly TableColumn[] {
  const odd = inputs.find(({ shape: [, ...inner] }) => inner.length > 1 || (inner[0] ?? 1) !== 1);
  if (odd !== undefined || inputs.length === 0)
    throw new UnfitTable(
      `the task Tabular needs a model with an input of shape [-1, 1] for each column, or with one of [-1, COLUMNS]; this one has ${inputs.map(describeSignature).join(', ')}`,
    );
  const unknown = named.find(({ name }) => !inputs.some((input) => input.name === name));
  if (unknown !== undefined) throw new UnfitTable(`the column '${unknown.name}' is none of the model's inputs`);
  return inputs.map((input, index) => {
    const said = named.find(({ name }) => name === input.name) ?? { name: input.name };
    return columnOf(input, said, { index, place: 0, width: 1 });
  });
}

function columnOf(
  input: TensorSignature,
  said: Column | undefined,
  places: Pick<TableColumn, 'index' | 'place' | 'width'>,
): TableColumn {
  const categories =
    said?.categories === undefined ? undefined : new Map(said.categories.map((word, code) => [word, code] as const));
  if (categories !== undefined && input.datatype === 'BYTES')
    throw new UnfitTable(`the column '${said?.name}' has categories, and the model takes its words themselves`);
  return { name: said?.name, categories, input, ...places };
}

/** Puts the values of rows into the tensors of a model. */
export class TableRows {
  readonly #inputs = new Map<
    string,
    { readonly signature: TensorSignature; readonly width: number; readonly values: Values }
  >();
  readonly #rows: number;
  readonly #mostBytes: number;
  #textBytes = 0;

  /**
   * @param rows at most
   * @param mostBytes that the tensors may take together
   * @throws RequestError 413
   */
  constructor(columns: readonly TableColumn[], rows: number, mostBytes: number) {
    this.#rows = rows;
    this.#mostBytes = mostBytes;
    const inputs = new Map(columns.map(({ input, width }) => [input, width]));
    const bytes = inputs
      .entries()
      .reduce((sum, [{ datatype }, width]) => sum + rows * width * (elementBytes(datatype) ?? stringBytes), 0);
    this.#refuseMore(bytes);
    this.#textBytes = bytes;
    for (const [signature, width] of inputs)
      this.#inputs.set(signature.name, { signature, width, values: valuesOf(signature.datatype, rows * width) });
  }

  /** @throws RequestError 400 that names row and column, 413 */
  put(row: number, column: TableColumn, cell: Cell): void {
    // A typed array drops what is put behind its end.
    if (row >= this.#rows) throw new RangeError(`there is room for ${this.#rows} rows, and none for row ${row}`);
    const { input, place, width, categories } = column;
    if (typeof cell === 'string') {
      this.#textBytes += cell.length;
      this.#refuseMore(this.#textBytes);
    }
    const value = typeof cell === 'string' && categories !== undefined ? codeOf(row, column, cell) : cell;
    const isWord = typeof cell !== 'string' && cell !== null && categories !== undefined;
    const taken = isWord ? false : this.#inputs.get(input.name)?.values.put(row * width + place, value);
    if (taken !== true) throw wrongCell(row, column, cell);
  }

  /** @param rows that there are */
  inputs(rows: number): ReadonlyMap<string, Tensor> {
    return new Map(
      this.#inputs.entries().map(([name, { signature, width, values }]): [string, Tensor] => {
        const shape = signature.shape.length === 1 ? [rows] : [rows, width];
        return [name, { datatype: signature.datatype, shape, data: values.cut(elementCount(shape)) }];
      }),
    );
  }

  #refuseMore(bytes: number): void {
    if (bytes > this.#mostBytes)
      throw badRequest(`the rows take ${bytes} bytes, more than the ${this.#mostBytes} that a request may take`, 413);
  }
}

/** How an error names a column. */
export function inWords({ name, index }: TableColumn): string {
  return name === undefined ? `column ${index}` : `column '${name}'`;
}

function codeOf(row: number, column: TableColumn, word: string): number {
  const { categories } = column;
  const code = categories?.get(word);
  if (code !== undefined) return code;
  const known = Array.from(categories?.keys() ?? [], (each) => `'${each}'`).join(', ');
  throw badRequest(
    `row ${row}, ${inWords(column)}: '${shorten(word)}' is none of ${known}; send null for what the model does not know`,
  );
}

function wrongCell(row: number, column: TableColumn, cell: Cell) {
  const {
    categories,
    input: { datatype },
  } = column;
  const expected = categories === undefined ? expectations[datatype] : 'one of its words';
  const given = typeof cell === 'string' ? JSON.stringify(shorten(cell)) : String(cell);
  const missing = floats.has(datatype) ? '' : ': a missing value has to be given as the model was trained with it';
  return badRequest(`row ${row}, ${inWords(column)}: is ${given}, expected ${expected}${cell === null ? missing : ''}`);
}

const expectations: Readonly<Record<Datatype, string>> = {
  BOOL: 'true or false',
  UINT8: 'an integer from 0 to 255',
  UINT16: 'an integer from 0 to 65535',
  UINT32: 'an integer from 0 to 4294967295',
  UINT64: 'an integer from 0 to 18446744073709551615',
  INT8: 'an integer from -128 to 127',
  INT16: 'an integer from -32768 to 32767',
  INT32: 'an integer from -2147483648 to 2147483647',
  INT64: 'an integer from -9223372036854775808 to 9223372036854775807',
  FP16: 'a number from -65504 to 65504, or null',
  FP32: 'a number of single precision, or null',
  FP64: 'a number, or null',
  BYTES: 'a string',
};

/** The elements of one tensor. */
interface Values {
  /** @returns false for a value that it cannot hold */
  put(index: number, value: Cell): boolean;
  /** The first of so many. */
  cut(count: number): TensorData;
}

function valuesOf(datatype: Datatype, count: number): Values {
  switch (datatype) {
    case 'BOOL':
      return booleans(new Uint8Array(count));
    case 'UINT8':
      return integers(new Uint8Array(count));
    case 'UINT16':
      return integers(new Uint16Array(count));
    case 'UINT32':
      return integers(new Uint32Array(count));
    case 'INT8':
      return integers(new Int8Array(count));
    case 'INT16':
      return integers(new Int16Array(count));
    case 'INT32':
      return integers(new Int32Array(count));
    case 'UINT64':
      return largeIntegers(new BigUint64Array(count));
    case 'INT64':
      return largeIntegers(new BigInt64Array(count));
    case 'FP16': {
      const halves = new Float16Array(count);
      return numbers(halves, new Uint16Array(halves.buffer));
    }
    case 'FP32':
      return singles(new Float32Array(count));
    case 'FP64':
      return singles(new Float64Array(count));
    case 'BYTES':
      return strings(new Array<string>(count).fill(''));
  }
}

function singles(data: Float32Array | Float64Array): Values {
  return numbers(data, data);
}

/** What is missing is no number, as pandas and scikit-learn have it. */
function numbers(into: Float16Array | Float32Array | Float64Array, data: Exclude<TensorData, string[]>): Values {
  return {
    put(index, value) {
      const number = value === null ? Number.NaN : typeof value === 'bigint' ? Number(value) : value;
      if (typeof number !== 'number') return false;
      into[index] = number;
      return !Number.isFinite(number) || Number.isFinite(into[index]);
    },
    cut: (count) => data.subarray(0, count),
  };
}

function integers(data: Uint8Array | Uint16Array | Uint32Array | Int8Array | Int16Array | Int32Array): Values {
  return {
    put(index, value) {
      if (typeof value !== 'number') return false;
      data[index] = value;
      // What does not fit is wrapped.
      return data[index] === value;
    },
    cut: (count) => data.subarray(0, count),
  };
}

function largeIntegers(data: BigInt64Array | BigUint64Array): Values {
  return {
    put(index, value) {
      const isExact = typeof value === 'number' && Number.isSafeInteger(value);
      if (!isExact && typeof value !== 'bigint') return false;
      const integer = BigInt(value);
      data[index] = integer;
      return data[index] === integer;
    },
    cut: (count) => data.subarray(0, count),
  };
}

function booleans(data: Uint8Array): Values {
  return {
    put(index, value) {
      if (value !== true && value !== false && value !== 0 && value !== 1) return false;
      data[index] = Number(value);
      return true;
    },
    cut: (count) => data.subarray(0, count),
  };
}

function strings(data: string[]): Values {
  return {
    put(index, value) {
      // onnxruntime cuts a string at NUL, so it would answer for another than was sent.
      if (typeof value !== 'string' || value.includes('\0')) return false;
      data[index] = value;
      return true;
    },
    cut: (count) => data.slice(0, count),
  };
}

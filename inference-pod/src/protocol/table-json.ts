import { isUtf8 } from 'node:buffer';
import type { Signature } from './datatypes.ts';
import { type JsonMark, JsonReader, shorten } from './json-reader.ts';
import type { DecodeLimits, InferenceRequest } from './open-inference-request.ts';
import { badRequest } from './request-error.ts';
import { type Cell, inWords, type TableColumn, type TableForm, TableRows, tableOf } from './tables.ts';
import { mostRows } from './tensorflow-predict.ts';

const forms = ['dataframe_split', 'dataframe_records', 'instances', 'inputs'] as const;
type Form = (typeof forms)[number];

/**
 * Reads the body of `POST /invocations` in JSON, as MLflow's scoring protocol has it: `dataframe_split`, `dataframe_records`,
 * `instances` (rows, by name or in order) or `inputs` (the same, or a list for each column). Columns that the model does not take
 * are passed over.
 *
 * @throws RequestError 400 that names row and column and what was expected, 413
 */
export function decodeTable(body: Buffer, signature: Signature, limits: DecodeLimits): InferenceRequest {
  if (!isUtf8(body)) throw badRequest('the body is not JSON: it is not UTF-8 text');
  const reader = new JsonReader(body, limits.patience);
  if (reader.peek() !== 'object') throw badRequest(`the body must be a JSON object, not ${reader.describe()}`);
  const { form, mark } = findForm(reader);
  reader.returnTo(mark);
  const table = tableOf(signature, limits.columns);
  return tableRequest(signature, readForm(form, { ...table, reader, mostBytes: limits.mostTensorBytes }));
}

/** A table that was read. */
export interface Table {
  readonly rows: TableRows;
  readonly count: number;
}

export function tableRequest({ outputs }: Signature, { rows, count }: Table): InferenceRequest {
  return {
    id: undefined,
    inputs: rows.inputs(count),
    outputs: outputs.map(({ name }) => ({ name, isBinary: false, classes: undefined })),
    nonFinite: 'null',
    rows: count,
  };
}

interface TableReader extends TableForm {
  readonly reader: JsonReader;
  readonly mostBytes: number;
}

/** Where the table is, in a body that has been looked through to its end. */
function findForm(reader: JsonReader): { readonly form: Form; readonly mark: JsonMark } {
  let found: { readonly form: Form; readonly mark: JsonMark } | undefined;
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    const form = forms.find((each) => each === key);
    if (form !== undefined) {
      if (found !== undefined) throw badRequest(`the body must have one of ${forms.join(', ')}, once`);
      found = { form, mark: reader.mark() };
    }
    reader.skip();
  }
  reader.end();
  if (found === undefined) throw badRequest(`the body must have one of ${forms.join(', ')}`);
  return found;
}

function readForm(form: Form, table: TableReader): Table {
  const { reader } = table;
  const isObject = reader.peek() === 'object';
  if (form === 'dataframe_split') return readSplit(table);
  if (form === 'inputs' && isObject) return readColumns(table);
  // Of each column the last row that has it, from 1 on.
  const given = new Uint32Array(table.columns.length);
  return readRows(table, form, (row, into) => {
    const kind = reader.peek();
    if (kind === 'object') readNamed(table, row, into, given);
    else if (kind === 'array' && form !== 'dataframe_records') readOrdered(table, row, table.columns, into);
    else throw badRequest(`${form}[${row}] must be an object of columns, not ${reader.describe()}`);
  });
}

/** Of a list that is next. */
function readRows(
  { reader, columns, mostBytes }: TableReader,
  field: string,
  read: (row: number, into: TableRows) => void,
): Table {
  const count = lengthOf(reader, field);
  const rows = new TableRows(columns, count, mostBytes);
  reader.beginArray();
  for (let row = 0; reader.element(row === 0); row++) read(row, rows);
  return { rows, count };
}

/** Of a list of rows, or of their values in a column, which is next. */
function lengthOf(reader: JsonReader, field: string): number {
  if (reader.peek() !== 'array') throw badRequest(`${field} must be a list of rows, not ${reader.describe()}`);
  const start = reader.mark();
  const count = reader.length();
  reader.returnTo(start);
  if (count === 0) throw badRequest(`${field} is empty: send a row at least`);
  if (count > mostRows) throw badRequest(`${field} has ${count} rows, more than ${mostRows}`, 413);
  return count;
}

/** The names may come behind the rows. */
function readSplit(table: TableReader): Table {
  const { reader } = table;
  if (reader.peek() !== 'object') throw badRequest(`dataframe_split must be an object, not ${reader.describe()}`);
  let names: readonly string[] | undefined;
  let data: JsonMark | undefined;
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    if (key === 'columns') names = readNames(reader);
    else {
      if (key === 'data') data = reader.mark();
      reader.skip();
    }
  }
  if (names === undefined || data === undefined) throw badRequest('dataframe_split must have columns and data');
  const columns = columnsNamed(names, table);
  reader.returnTo(data);
  return readRows(table, 'dataframe_split.data', (row, into) => {
    if (reader.peek() !== 'array')
      throw badRequest(`dataframe_split.data[${row}] must be a list of values, not ${reader.describe()}`);
    readOrdered(table, row, columns, into);
  });
}

function readNames(reader: JsonReader): readonly string[] {
  const names: string[] = [];
  if (reader.peek() !== 'array') throw badRequest(`columns must be a list of names, not ${reader.describe()}`);
  reader.beginArray();
  while (reader.element(names.length === 0)) {
    reader.spend();
    // Those of pandas are numbers where nobody has named them.
    if (reader.peek() === 'number') names.push(String(reader.number()));
    else if (reader.peek() === 'string') names.push(reader.string());
    else throw badRequest(`columns must be a list of names, and ${reader.describe()} is none`);
  }
  return names;
}

/**
 * The columns that names are of; undefined for those that the model does not take.
 *
 * @throws RequestError 400 when one is missing or given twice
 */
export function columnsNamed(names: readonly string[], table: TableForm): readonly (TableColumn | undefined)[] {
  const byName = namesOf(table);
  const given = new Set<TableColumn>();
  const columns = names.map((name) => {
    const column = byName.get(name);
    if (column !== undefined && given.has(column)) throw badRequest(`${inWords(column)} is given twice`);
    if (column !== undefined) given.add(column);
    return column;
  });
  const missing = table.columns.filter((column) => !given.has(column));
  if (missing.length > 0)
    throw badRequest(`missing ${missing.map(inWords).join(', ')}: given are ${shorten(names.join(', '))}`);
  return columns;
}

/** @throws RequestError 400 when nobody has named them */
function namesOf({ columns, byName }: TableForm): ReadonlyMap<string, TableColumn> {
  if (byName !== undefined) return byName;
  throw badRequest(
    `the columns of this model have no names: send rows as lists of ${columns.length} values in inputs, or name them in spec.runtime.tabular.columns (--columns on a laptop)`,
  );
}

function readOrdered(
  { reader }: TableReader,
  row: number,
  columns: readonly (TableColumn | undefined)[],
  into: TableRows,
): void {
  const start = reader.mark();
  reader.beginArray();
  let place = 0;
  while (reader.element(place === 0)) {
    if (place < columns.length) {
      const column = columns[place];
      if (column === undefined) reader.skip();
      else into.put(row, column, readCell(reader, row));
    } else reader.skip();
    place++;
  }
  if (place === columns.length) return;
  reader.returnTo(start);
  throw badRequest(`row ${row} has ${place} values, expected ${columns.length}`);
}

function readNamed(table: TableReader, row: number, into: TableRows, given: Uint32Array): void {
  const { reader, columns } = table;
  const byName = namesOf(table);
  let left = columns.length;
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    const column = byName.get(key);
    if (column === undefined) reader.skip();
    else {
      if (given[column.index] === row + 1) throw badRequest(`row ${row}: ${inWords(column)} is given twice`);
      given[column.index] = row + 1;
      left--;
      into.put(row, column, readCell(reader, row));
    }
  }
  if (left === 0) return;
  const missing = columns.filter(({ index }) => given[index] !== row + 1);
  throw badRequest(`row ${row}: missing ${missing.map(inWords).join(', ')}: send null for a number that is not known`);
}

function readColumns(table: TableReader): Table {
  const { reader, columns, mostBytes } = table;
  const byName = namesOf(table);
  const missing = new Set(columns);
  let read: Table | undefined;
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    const column = byName.get(key);
    if (column === undefined) {
      reader.skip();
      continue;
    }
    if (!missing.delete(column)) throw badRequest(`${inWords(column)} is given twice`);
    const count = lengthOf(reader, inWords(column));
    read ??= { rows: new TableRows(columns, count, mostBytes), count };
    if (count !== read.count)
      throw badRequest(`${inWords(column)} has ${count} values, and the one before it ${read.count}`);
    reader.beginArray();
    for (let row = 0; reader.element(row === 0); row++) read.rows.put(row, column, readCell(reader, row));
  }
  if (read !== undefined && missing.size === 0) return read;
  throw badRequest(`missing ${Array.from(missing, inWords).join(', ')}`);
}

function readCell(reader: JsonReader, row: number): Cell {
  reader.spend();
  switch (reader.peek()) {
    case 'string':
      return reader.string();
    case 'boolean':
      return reader.boolean();
    case 'null':
      reader.null();
      return null;
    case 'number':
      return readNumber(reader, row);
    default:
      throw badRequest(`row ${row} has ${reader.describe()} where a value was expected`);
  }
}

/** Whole numbers keep all their digits. */
function readNumber(reader: JsonReader, row: number): number | bigint {
  const start = reader.position;
  const value = reader.number();
  if (!Number.isFinite(value)) throw badRequest(`row ${row} has a number that is too large`);
  if (!Number.isInteger(value) || Number.isSafeInteger(value)) return value;
  reader.moveTo(start);
  const text = reader.numberText();
  return /^-?\d{1,20}$/.test(text) ? BigInt(text) : value;
}

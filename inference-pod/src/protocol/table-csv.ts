import { isUtf8 } from 'node:buffer';
import { createRequire } from 'node:module';
import type { Datatype, Signature } from './datatypes.ts';
import type { DecodeLimits, InferenceRequest } from './open-inference-request.ts';
import { badRequest } from './request-error.ts';
import { columnsNamed, tableRequest } from './table-json.ts';
import { type Cell, type TableColumn, TableRows, tableOf } from './tables.ts';
import { mostRows } from './tensorflow-predict.ts';

/** Of one row. */
const mostCharacters = 1_048_576;

/** Of one line. */
const mostValues = 65_536;

/** Those of Windows and Unix, and of old spreadsheets. */
const lineEnds = ['\r\n', '\n', '\r'];

const load = createRequire(import.meta.url);

/**
 * Reads the body of `POST /invocations` in CSV (RFC 4180), whose first row has the names of the columns. An empty value is one that is
 * missing, or an empty string.
 *
 * @throws RequestError 400 that names row and column and what was expected, 413
 */
export function decodeCsv(body: Buffer, signature: Signature, limits: DecodeLimits): InferenceRequest {
  if (!isUtf8(body)) throw badRequest('the body is not CSV: it is not UTF-8 text');
  refuseWide(body);
  // There is no quick way: a value has a sign at least, and one behind it.
  limits.patience?.spend(body.length / 2);
  const table = tableOf(signature, limits.columns);
  const most = linesOf(body);
  if (most > mostRows) throw badRequest(`the body has ${most} lines, more than ${mostRows}`, 413);
  const rows = new TableRows(table.columns, most, limits.mostTensorBytes);
  let named: readonly (TableColumn | undefined)[] | undefined;
  let count = 0;
  const take = (record: readonly string[]): null => {
    if (named === undefined) named = columnsNamed(record, table);
    else {
      if (record.length !== named.length)
        throw badRequest(`row ${count} has ${record.length} values, and ${named.length} columns are named`);
      for (const [place, column] of named.entries())
        if (column !== undefined) rows.put(count, column, cellOf(column, record[place] ?? ''));
      count++;
    }
    return null;
  };
  // Loaded with the first table: pods of other models need no memory for it.
  const { CsvError, parse }: typeof import('csv-parse/sync') = load('csv-parse/sync');
  try {
    parse(body, {
      bom: true,
      skip_empty_lines: true,
      record_delimiter: lineEnds,
      max_record_size: mostCharacters,
      // A row is told by its number, as it is everywhere.
      relax_column_count: true,
      on_record: take,
    });
  } catch (error) {
    if (error instanceof CsvError) throw badRequest(`the body is not CSV: ${error.message}`);
    throw error;
  }
  if (count === 0) throw badRequest('the body must have a line of names, and a row at least');
  return tableRequest(signature, { rows, count });
}

/** The library holds all values of a line before it gives the first away, and takes a hundred bytes for each that is empty. */
function refuseWide(body: Buffer): void {
  let values = 1;
  // A quote in a quoted value is two of them.
  let isQuoted = false;
  for (const byte of body) {
    if (byte === 34) isQuoted = !isQuoted;
    else if (isQuoted) continue;
    else if (byte === 10 || byte === 13) values = 1;
    else if (byte === 44 && ++values > mostValues)
      throw badRequest(`the body has a line of more than ${mostValues} values`, 413);
  }
}

/** At most as many rows: a quoted value may have lines of its own. */
function linesOf(body: Buffer): number {
  let lines = 1;
  for (let at = body.indexOf('\n'); at !== -1; at = body.indexOf('\n', at + 1)) lines++;
  for (let at = body.indexOf('\r'); at !== -1; at = body.indexOf('\r', at + 1)) if (body[at + 1] !== 10) lines++;
  return lines;
}

function cellOf({ categories, input: { datatype } }: TableColumn, text: string): Cell {
  if (categories !== undefined) return text === '' ? null : text;
  return readers[datatype](text);
}

const readers: Readonly<Record<Datatype, (text: string) => Cell>> = {
  BOOL: (text) => booleans.get(text.toLowerCase()) ?? text,
  UINT8: integer,
  UINT16: integer,
  UINT32: integer,
  UINT64: integer,
  INT8: integer,
  INT16: integer,
  INT32: integer,
  INT64: integer,
  FP16: number,
  FP32: number,
  FP64: number,
  BYTES: (text) => text,
};

const booleans: ReadonlyMap<string, Cell> = new Map([
  ['true', true],
  ['false', false],
  ['1', true],
  ['0', false],
  ['', null],
]);

/** What is no number is told as it was written. */
function number(text: string): Cell {
  const trimmed = text.trim();
  if (trimmed === '' || /^nan$/i.test(trimmed)) return null;
  const value = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(trimmed) ? Number(trimmed) : text;
  return value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY ? text : value;
}

function integer(text: string): Cell {
  const trimmed = text.trim();
  return /^[+-]?\d{16,20}$/.test(trimmed) ? BigInt(trimmed.replace('+', '')) : number(text);
}

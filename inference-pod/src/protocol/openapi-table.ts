import type { Datatype, Signature } from './datatypes.ts';
import { jsonContent } from './openapi-content.ts';
import { type Column, type TableColumn, tableOf } from './tables.ts';

/** The operation that takes rows of the columns of a model. */
export function tableOperation(signature: Signature, named: readonly Column[] | undefined): object {
  const { columns, byName } = tableOf(signature, named);
  const ordered = { type: 'array', minItems: columns.length, maxItems: columns.length };
  const properties = Object.fromEntries(columns.map((column) => [column.name ?? '', schemaOf(column)]));
  const record = { type: 'object', required: Object.keys(properties), properties };
  const rows = (items: object) => ({ type: 'array', minItems: 1, items });
  const split = { type: 'object', required: ['columns', 'data'], properties: { data: rows({ type: 'array' }) } };
  const form = (name: string, schema: object) => ({
    type: 'object',
    required: [name],
    properties: { [name]: schema },
  });
  const unnamed = [form('inputs', rows(ordered)), form('instances', rows(ordered))];
  const request =
    byName === undefined
      ? { anyOf: unnamed }
      : { anyOf: [form('dataframe_records', rows(record)), form('dataframe_split', split), ...unnamed] };
  const example =
    byName === undefined
      ? { inputs: [columns.map(exampleOf)] }
      : { dataframe_records: [Object.fromEntries(columns.map((column) => [column.name ?? '', exampleOf(column)]))] };
  const csv = byName === undefined ? {} : { 'text/csv': { schema: { type: 'string' } } };
  const answer = form('predictions', rows({ type: 'object' }));
  const error = {
    type: 'object',
    required: ['error_code', 'message'],
    properties: { error_code: { type: 'string' }, message: { type: 'string' } },
  };
  const refused = { description: 'Why not: the message names row and column.', ...jsonContent(error) };
  return {
    operationId: 'predictRows',
    summary: "Answers rows of columns, as MLflow's scoring protocol has it",
    requestBody: { required: true, content: { ...jsonContent(request, example).content, ...csv } },
    responses: {
      200: { description: 'An object for each row.', ...jsonContent(answer) },
      ...Object.fromEntries([400, 413, 503, 504].map((status) => [status, refused])),
    },
  };
}

function schemaOf({ categories, input: { datatype } }: TableColumn): object {
  if (categories !== undefined) return { enum: [...categories.keys(), null] };
  return schemas[datatype] ?? { type: 'integer' };
}

/** Those of integers are all alike. */
const schemas: Readonly<Partial<Record<Datatype, object>>> = {
  BOOL: { type: 'boolean' },
  BYTES: { type: 'string' },
  FP16: { type: ['number', 'null'] },
  FP32: { type: ['number', 'null'] },
  FP64: { type: ['number', 'null'] },
};

function exampleOf({ categories, input: { datatype } }: TableColumn): string | number | boolean {
  const [word] = categories?.keys() ?? [];
  if (word !== undefined) return word;
  return datatype === 'BYTES' ? 'a word' : datatype === 'BOOL' ? false : 0;
}

import { describe, expect, test } from '@jest/globals';
import type { Datatype, Signature } from './datatypes.ts';
import { RequestError } from './request-error.ts';
import { encodeTable } from './table-answer.ts';
import { decodeCsv } from './table-csv.ts';
import { decodeTable } from './table-json.ts';
import { type Column, tableOf, UnfitTable } from './tables.ts';

const signatureOf = (inputs: Readonly<Record<string, readonly [Datatype, readonly number[]]>>): Signature => ({
  inputs: Object.entries(inputs).map(([name, [datatype, shape]]) => ({ name, datatype, shape })),
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1] }],
});
const people = () => signatureOf({ age: ['FP32', [-1, 1]], visits: ['INT64', [-1]], town: ['BYTES', [-1, 1]] });
const matrix = () => signatureOf({ rows: ['FP32', [-1, 3]] });
const named: readonly Column[] = [{ name: 'a' }, { name: 'b', categories: ['low', 'high'] }, { name: 'c' }];

const read = (body: unknown, signature = people(), columns?: readonly Column[], mostTensorBytes = 10_000) =>
  decodeTable(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)), signature, {
    mostTensorBytes,
    columns,
  });
const readCsv = (body: string, signature = people(), columns?: readonly Column[], mostTensorBytes = 10_000) =>
  decodeCsv(Buffer.from(body), signature, { mostTensorBytes, columns });
const valuesOf = ({ inputs }: ReturnType<typeof read>) =>
  Object.fromEntries(Array.from(inputs, ([name, { shape, data }]) => [name, [shape, Array.from<unknown>(data)]]));

const twoRows = {
  age: [
    [2, 1],
    [40, Number.NaN],
  ],
  visits: [[2], [3n, 9007199254740993n]],
  town: [
    [2, 1],
    ['Ulm', ''],
  ],
};

describe('an input for each column', () => {
  test.each([
    ['records', { dataframe_records: [{ age: 40, visits: 3, town: 'Ulm', id: [1] }, 0] }],
    [
      'split',
      { dataframe_split: { index: [7, 8], columns: ['town', 'id', 'age', 'visits'], data: [['Ulm', {}, 40, 3], 0] } },
    ],
    [
      'split, whose rows come first',
      { dataframe_split: { data: [['Ulm', 40, 3], 0], columns: ['town', 'age', 'visits'] } },
    ],
    ['instances by name', { instances: [{ town: 'Ulm', age: 40, visits: 3 }, 0] }],
    ['instances in order', { instances: [[40, 3, 'Ulm'], 0] }],
    ['inputs by row', { inputs: [{ town: 'Ulm', age: 40, visits: 3 }, 0], params: { x: 1 } }],
  ])('takes %s', (form, body) => {
    const last = form.startsWith('split')
      ? `[${form === 'split' ? '"",0,null,9007199254740993' : '"",null,9007199254740993'}]`
      : form === 'instances in order'
        ? '[null,9007199254740993,""]'
        : '{"age":null,"visits":9007199254740993,"town":""}';
    const text = JSON.stringify(body).replace(/,0\](?=[},])/, `,${last}]`);
    expect(valuesOf(read(text))).toEqual(twoRows);
  });

  test('takes a list for each', () => {
    const text = '{"inputs": {"age": [40, null], "town": ["Ulm", ""], "id": 1, "visits": [3, 9007199254740993]}}';
    expect(valuesOf(read(text))).toEqual(twoRows);
  });

  test.each([
    'age,visits,town\n40,3,Ulm\n,9007199254740993,\n',
    '\ufefftown,id,visits,age\r\n"Ulm","a ""b"", c\nd",3,4e1\r\n,,+9007199254740993,NaN\r\n\r\n',
    'age,visits,town\n40,3,"Ulm"\n,9007199254740993,""\n',
    'age,visits,town\r40,3,Ulm\r,9007199254740993,\r',
    'age,visits,town\n40,3,Ulm\r\n,9007199254740993,\r',
  ])('takes CSV: %j', (body) => {
    expect(valuesOf(readCsv(body))).toEqual(twoRows);
  });
});

describe('one input of them all', () => {
  const values = {
    rows: [
      [2, 3],
      [1, 1, 2, 3, Number.NaN, 4],
    ],
  };

  test('takes them by the names that they are given, and words by their places', () => {
    const records = [
      { c: 2, a: 1, b: 'high' },
      { a: 3, b: null, c: 4 },
    ];
    expect(valuesOf(read({ dataframe_records: records }, matrix(), named))).toEqual(values);
    expect(valuesOf(readCsv('b,c,a\nhigh,2,1\n,4,3\n', matrix(), named))).toEqual(values);
    expect(
      valuesOf(
        read(
          {
            inputs: [
              [1, 'high', 2],
              [3, null, 4],
            ],
          },
          matrix(),
          named,
        ),
      ),
    ).toEqual(values);
  });

  test('takes them in order where they have no names', () => {
    expect(
      valuesOf(
        read(
          {
            inputs: [
              [1, 1, 2],
              [3, null, 4],
            ],
          },
          matrix(),
        ),
      ),
    ).toEqual(values);
    for (const body of [{ dataframe_records: [{ a: 1 }] }, { dataframe_split: { columns: ['a'], data: [[1]] } }])
      expect(() => read(body, matrix())).toThrow('have no names: send rows as lists of 3 values in inputs');
    expect(() => readCsv('a,b,c\n1,2,3', matrix())).toThrow('name them in spec.runtime.tabular.columns');
  });

  test('may be as wide as there are names', () => {
    const signature = signatureOf({ rows: ['FP64', [-1, -1]] });
    expect(read({ inputs: [[1, 'low', 2]] }, signature, named).inputs.get('rows')?.shape).toEqual([1, 3]);
  });
});

const records = (...rows: object[]) => ({ dataframe_records: rows });
const whole = { age: 1, visits: 2, town: 'Ulm' };

test.each([
  ['no object', [1], 'the body must be a JSON object'],
  ['nothing known', { rows: [] }, 'the body must have one of dataframe_split, dataframe_records, instances, inputs'],
  [
    'two tables',
    { inputs: [[1, 2, 'a']], instances: [[1, 2, 'a']] },
    'one of dataframe_split, dataframe_records, instances, inputs, once',
  ],
  ['no rows', records(), 'dataframe_records is empty'],
  ['no list', { dataframe_records: {} }, 'dataframe_records must be a list of rows'],
  ['a row that is none', { dataframe_records: [[1, 2, 'a']] }, 'dataframe_records[0] must be an object of columns'],
  ['a row without a column', records(whole, { age: 1 }), "row 1: missing column 'visits', column 'town': send null"],
  ['a column twice', '{"dataframe_records":[{"age":1,"age":2}]}', "row 0: column 'age' is given twice"],
  [
    'a word for a number',
    records({ ...whole, age: 'old' }),
    `row 0, column 'age': is "old", expected a number of single`,
  ],
  ['a number that is too large', records({ ...whole, age: 1e39 }), "column 'age': is 1e+39, expected a number"],
  ['a number without end', '{"dataframe_records":[{"age":1e400}]}', 'row 0 has a number that is too large'],
  ['a fraction for an integer', records({ ...whole, visits: 1.5 }), "column 'visits': is 1.5, expected an integer"],
  [
    'an integer without end',
    '{"dataframe_records":[{"visits":9223372036854775808}]}',
    'is 9223372036854775808, expected an integer',
  ],
  [
    'no integer',
    records({ ...whole, visits: null }),
    'is null, expected an integer from -9223372036854775808 to 9223372036854775807: a missing value has',
  ],
  [
    'no word',
    records({ ...whole, town: null }),
    "column 'town': is null, expected a string: a missing value has to be given as",
  ],
  ['a word with an end in it', records({ ...whole, town: 'a\0b' }), "column 'town': is"],
  ['a list for a value', records({ ...whole, age: [1] }), 'row 0 has a list of 1 where a value was expected'],
  ['a short row', { inputs: [[1, 2]] }, 'row 0 has 2 values, expected 3'],
  ['a long row', { inputs: [[1, 2, 'a', 4]] }, 'row 0 has 4 values, expected 3'],
  ['a split without rows', { dataframe_split: { columns: [] } }, 'dataframe_split must have columns and data'],
  [
    'a split without a column',
    { dataframe_split: { columns: ['age', 'ages'], data: [[1, 2]] } },
    "missing column 'visits', column 'town': given are age, ages",
  ],
  [
    'a split with one twice',
    { dataframe_split: { columns: ['age', 'age'], data: [[1, 2]] } },
    "column 'age' is given twice",
  ],
  [
    'a split of numbers',
    { dataframe_split: { columns: [[0]], data: [[1, 2]] } },
    'columns must be a list of names, and a list of 1 is none',
  ],
  [
    'lists of several lengths',
    { inputs: { age: [1, 2], visits: [1], town: ['a', 'b'] } },
    "column 'visits' has 1 values, and the one before it 2",
  ],
  ['lists without one', { inputs: { age: [1, 2] } }, "missing column 'visits', column 'town'"],
  [
    'more than may be taken',
    { inputs: Array.from({ length: 900 }, () => [1, 2, 'a']) },
    'more than the 10000 that a request may take',
  ],
  ['words without end', records({ ...whole, town: 'a'.repeat(10_000) }), 'more than the 10000 that a request may take'],
])('%s is refused', (_, body, message) => {
  expect(() => read(body)).toThrow(RequestError);
  expect(() => read(body)).toThrow(message);
});

test.each([
  ['nothing', '', 'a line of names, and a row at least'],
  ['names alone', 'age,visits,town\n', 'a line of names, and a row at least'],
  ['rows of several lengths', 'age,visits,town\n1,2\n', 'row 0 has 2 values, and 3 columns are named'],
  ['a number without end', 'age,visits,town\n1e400,2,a\n', `row 0, column 'age': is "1e400", expected a number`],
  [
    'values without end behind a quote',
    `age,visits,town\n${`${','.repeat(60_000)}"\n"`.repeat(2)}`,
    'a line of more than 65536 values',
  ],
  ['values without end', `age,visits,town\n${','.repeat(65_536)}\n`, 'a line of more than 65536 values'],
  ['an open quote', 'age,visits,town\n1,2,"a\n', 'the body is not CSV: Quote Not Closed'],
  ['a word for a number', 'age,visits,town\n1x,2,a\n', `row 0, column 'age': is "1x", expected a number`],
  ['a hexadecimal number', 'age,visits,town\n0x1,2,a\n', `row 0, column 'age': is "0x1"`],
  ['a missing column', 'age,town\n1,a\n', "missing column 'visits': given are age, town"],
  ['a row without end', `age,visits,town\n1,2,${'a'.repeat(2_000_000)}`, 'the body is not CSV: Max Record Size'],
  ['lines without end', '\n'.repeat(1_000_001), 'the body has 1000002 lines, more than 1000000'],
  [
    'more than may be taken',
    `age,visits,town\n${'1,2,a\n'.repeat(900)}`,
    'more than the 10000 that a request may take',
  ],
])('CSV with %s is refused', (_, body, message) => {
  expect(() => readCsv(body, people(), undefined, message.includes('CSV') ? 1e8 : 10_000)).toThrow(RequestError);
  expect(() => readCsv(body, people(), undefined, message.includes('CSV') ? 1e8 : 10_000)).toThrow(message);
});

test('a CSV value of digits without end is told to be none, and takes no time', () => {
  // Read backwards digit by digit, it would take hours.
  expect(() => readCsv(`a,b,c\n${'1'.repeat(1_000_000)}x,low,2\n`, matrix(), named, 1e8)).toThrow("column 'a'");
});

test('words that are none of a column, and numbers where words belong, are refused', () => {
  expect(() => read({ inputs: [[1, 'middle', 2]] }, matrix(), named)).toThrow(
    "row 0, column 'b': 'middle' is none of 'low', 'high'; send null for what the model does not know",
  );
  expect(() => read({ inputs: [[1, 1, 2]] }, matrix(), named)).toThrow(
    "row 0, column 'b': is 1, expected one of its words",
  );
  expect(() => readCsv('a,b,c\n1,Low,2\n', matrix(), named)).toThrow("'Low' is none of 'low', 'high'");
});

test.each<[Datatype, readonly unknown[], readonly unknown[]]>([
  ['BOOL', [true, false, 1, 0], [2, null, 'true']],
  ['UINT8', [0, 255], [-1, 256, 0.5, true]],
  ['INT8', [-128, 127], [128, -129]],
  ['UINT16', [65_535], [65_536]],
  ['INT16', [-32_768], [32_768]],
  ['UINT32', [4_294_967_295], [4_294_967_296]],
  ['INT32', [-2_147_483_648], [2_147_483_648]],
  ['UINT64', [0], [-1, 1e20]],
  ['FP16', [65_504, null], [65_520, 'a']],
  ['FP64', [1e308, null], [true]],
])('a column of %s holds what it can, and nothing else', (datatype, right, wrong) => {
  const signature = () => signatureOf({ x: [datatype, [-1]] });
  for (const value of right) expect(read({ inputs: [[value]] }, signature()).inputs.get('x')?.data).toHaveLength(1);
  for (const value of wrong) expect(() => read({ inputs: [[value]] }, signature())).toThrow("column 'x': is");
});

test.each<[string, Signature, readonly Column[] | undefined, string]>([
  ['pictures', signatureOf({ x: ['FP32', [-1, 3, 224, 224]] }), undefined, 'an input of shape [-1, 1] for each column'],
  ['two matrices', signatureOf({ x: ['FP32', [-1, 2]], y: ['FP32', [-1, 1]] }), undefined, 'an input of shape [-1, 1]'],
  ['any width', signatureOf({ x: ['FP32', [-1, -1]] }), undefined, 'does not say how many columns it has'],
  ['another width', matrix(), named.slice(1), '2 columns are named'],
  ['other columns', people(), [{ name: 'ages' }], "the column 'ages' is none of the model's inputs"],
  ['words', people(), [{ name: 'town', categories: ['Ulm'] }], 'takes its words themselves'],
])('a model of %s is none of rows', (_, signature, columns, message) => {
  expect(() => tableOf(signature, columns)).toThrow(UnfitTable);
  expect(() => tableOf(signature, columns)).toThrow(message);
});

describe('an answer', () => {
  const request = {
    ...read(records(whole, whole)),
    outputs: ['label', 'shares', 'scores'].map((name) => ({ name, isBinary: false, classes: undefined })),
  };
  const outputs = (height: number) =>
    new Map([
      ['label', { datatype: 'BYTES' as const, shape: [height], data: ['a', 'b'] }],
      ['shares', { datatype: 'FP32' as const, shape: [height, 2], data: Float32Array.of(0.25, 0.75, Number.NaN, 1) }],
      ['scores', { datatype: 'INT64' as const, shape: [height, 1], data: BigInt64Array.of(1n, 2n) }],
    ]);

  test('has an object for each row, and is JSON', () => {
    expect(JSON.parse(String(encodeTable(request, outputs(2), 1000)))).toEqual({
      predictions: [
        { label: 'a', shares: [0.25, 0.75], scores: 1 },
        { label: 'b', shares: [null, 1], scores: 2 },
      ],
    });
  });

  test('of another height than the rows is refused', () => {
    expect(() => encodeTable(request, outputs(1), 1000)).toThrow(
      "output 'label' has shape [1], not one value for each of 2",
    );
    expect(() => encodeTable(request, outputs(2), 50)).toThrow('the answer is larger than the 50 bytes');
  });
});

/**
 * An ONNX model (onnx.proto3) that gives rows of a table: as large as is wanted, and nothing to compute.
 *
 * @param file that has the table, beside the model: FP32, row after row
 */
export function lookUpModel(rows: number, columns: number, file: string): Buffer {
  const external = (key: string, value: string) => message(13, text(1, key), text(2, value));
  const table = message(
    5,
    ...[rows, columns].map((dimension) => number(1, dimension)),
    number(2, float),
    text(8, 'table'),
    external('location', file),
    external('length', String(rows * columns * 4)),
    number(14, externalData),
  );
  const gather = message(1, text(1, 'table'), text(1, 'index'), text(2, 'row'), text(4, 'Gather'));
  const graph = message(
    7,
    gather,
    text(2, 'lookup'),
    table,
    message(11, text(1, 'index'), type(int64, ['n'])),
    message(12, text(1, 'row'), type(float, ['n', columns])),
  );
  return Buffer.concat([number(1, 8), graph, message(8, text(1, ''), number(2, 17))]);
}

const float = 1;
const int64 = 7;
const externalData = 1;

function type(element: number, dimensions: readonly (string | number)[]): Buffer {
  const shape = dimensions.map((dimension) =>
    message(1, typeof dimension === 'string' ? text(2, dimension) : number(1, dimension)),
  );
  return message(2, message(1, number(1, element), message(2, ...shape)));
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) + 128);
  }
}

function number(field: number, value: number): Buffer {
  return Buffer.concat([varint(field * 8), varint(value)]);
}

function message(field: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([varint(field * 8 + 2), varint(body.length), body]);
}

function text(field: number, value: string): Buffer {
  return message(field, Buffer.from(value));
}

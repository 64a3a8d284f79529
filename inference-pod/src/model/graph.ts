/** An operator of a graph: '' is the domain of ONNX itself. */
export interface Operator {
  readonly domain: string;
  readonly type: string;
}

/**
 * The operators of a model, those of graphs within its operators and of its functions among them, read from the bytes of
 * its file without loading it. The numbers are those of the fields in onnx.proto.
 *
 * @returns undefined for what is no ONNX model
 */
export function operatorsOf(file: Buffer): readonly Operator[] | undefined {
  const operators: Operator[] = [];
  try {
    readModel(file, operators);
  } catch (error) {
    if (error instanceof NoModel) return undefined;
    throw error;
  }
  return operators;
}

/**
 * The inputs and outputs of a model whose file does not say how many dimensions they have, by name. onnxruntime tells the
 * same of them as of scalars.
 *
 * @returns none for what is no ONNX model
 */
export function tensorsOfUnknownRank(file: Buffer): ReadonlySet<string> {
  const names = new Set<string>();
  try {
    for (const [field, value] of fieldsOf(file)) {
      if (field !== model.graph) continue;
      for (const [inner, info] of fieldsOf(value)) {
        if (inner === graph.input || inner === graph.output) readValueInfo(info, names);
      }
    }
  } catch (error) {
    if (!(error instanceof NoModel)) throw error;
  }
  return names;
}

function readValueInfo(bytes: Buffer, into: Set<string>): void {
  let name = '';
  let isShaped = false;
  for (const [field, value] of fieldsOf(bytes)) {
    if (field === valueInfo.name) name = value.toString();
    else if (field === valueInfo.type) isShaped = hasShape(value);
  }
  if (!isShaped) into.add(name);
}

function hasShape(type: Buffer): boolean {
  for (const [field, tensor] of fieldsOf(type)) {
    if (field !== typeOfValue.tensor) continue;
    for (const [inner] of fieldsOf(tensor)) if (inner === tensorType.shape) return true;
  }
  return false;
}

/** Graphs within operators of graphs within operators. */
const mostDepth = 32;

class NoModel extends Error {}

const model = { graph: 7, functions: 25 };
const graph = { node: 1, input: 11, output: 12 };
const valueInfo = { name: 1, type: 2 };
const typeOfValue = { tensor: 1 };
const tensorType = { shape: 2 };
const functions = { node: 7 };
const node = { type: 4, attribute: 5, domain: 7 };
const attribute = { graph: 6, graphs: 11 };

function readModel(bytes: Buffer, into: Operator[]): void {
  for (const [field, value] of fieldsOf(bytes)) {
    if (field === model.graph) readNodes(value, graph.node, into);
    else if (field === model.functions) readNodes(value, functions.node, into);
  }
}

function readNodes(bytes: Buffer, nodes: number, into: Operator[], depth = 0): void {
  if (depth > mostDepth) throw new NoModel();
  for (const [field, value] of fieldsOf(bytes)) if (field === nodes) readNode(value, into, depth);
}

function readNode(bytes: Buffer, into: Operator[], depth: number): void {
  let type = '';
  let domain = '';
  for (const [field, value] of fieldsOf(bytes)) {
    if (field === node.type) type = value.toString();
    else if (field === node.domain) domain = value.toString();
    else if (field === node.attribute) readAttribute(value, into, depth);
  }
  into.push({ domain: domain === 'ai.onnx' ? '' : domain, type });
}

function readAttribute(bytes: Buffer, into: Operator[], depth: number): void {
  for (const [field, value] of fieldsOf(bytes)) {
    if (field === attribute.graph || field === attribute.graphs) readNodes(value, graph.node, into, depth + 1);
  }
}

/** The fields of a message that have a length, with their bytes; the others are passed over. */
function* fieldsOf(bytes: Buffer): Generator<readonly [number, Buffer]> {
  let offset = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[offset++];
      if (byte === undefined) break;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new NoModel();
  };
  while (offset < bytes.length) {
    const key = varint();
    switch (key % 8) {
      case 0:
        varint();
        break;
      case 1:
        offset += 8;
        break;
      case 2: {
        const length = varint();
        if (offset + length > bytes.length) throw new NoModel();
        yield [Math.floor(key / 8), bytes.subarray(offset, offset + length)];
        offset += length;
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

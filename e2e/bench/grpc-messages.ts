import { ProtobufReader, ProtobufWriter } from '../../inference-pod/src/protocol/protobuf.ts';
import { datatypeOf, type Input, type Outputs } from './tensors.ts';

/** The numbers of the fields in inference-pod/protos/open_inference_grpc.proto. */
const request = { modelName: 1, inputs: 5, rawInputs: 7 };
const tensor = { name: 1, datatype: 2, shape: 3, contents: 5 };
const response = { outputs: 5, rawOutputs: 6 };
const contents = { int64: 3, fp32: 6 };

/** A ModelInferRequest with its tensors in raw_input_contents, behind its length as gRPC frames it. */
export function grpcRequest(inputs: readonly Input[]): Buffer<ArrayBuffer> {
  const message = new ProtobufWriter().text(request.modelName, 'model');
  for (const { name, shape, values } of inputs) {
    const input = new ProtobufWriter()
      .text(tensor.name, name)
      .text(tensor.datatype, datatypeOf(values))
      .numbers(tensor.shape, shape);
    message.message(request.inputs, input);
  }
  for (const { values } of inputs) message.bytes(request.rawInputs, new Uint8Array(values.buffer));
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(message.length, 1);
  return Buffer.concat([frame, ...message.finish()]);
}

/** Reads a framed ModelInferResponse, whose tensors stand in raw_output_contents or in contents. */
export function readGrpcAnswer(frame: Buffer): Outputs {
  const reader = new ProtobufReader(frame.subarray(5));
  const outputs: Output[] = [];
  const raws: Buffer[] = [];
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (field === response.outputs) outputs.push(readOutput(reader.view()));
    else if (field === response.rawOutputs) raws.push(reader.view());
    else reader.skip();
  }
  return new Map(
    outputs.map(({ name, datatype, values }, index) => {
      const raw = raws[index];
      return [name, raw === undefined ? values : elementsOf(raw, datatype)];
    }),
  );
}

interface Output {
  readonly name: string;
  readonly datatype: string;
  readonly values: readonly number[];
}

function readOutput(message: Buffer): Output {
  const reader = new ProtobufReader(message);
  let name = '';
  let datatype = '';
  let values: readonly number[] = [];
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (field === tensor.name) name = reader.text();
    else if (field === tensor.datatype) datatype = reader.text();
    else if (field === tensor.contents) values = readContents(reader.view());
    else reader.skip();
  }
  return { name, datatype, values };
}

function readContents(message: Buffer): readonly number[] {
  const reader = new ProtobufReader(message);
  const values: number[] = [];
  for (let field = reader.field(); field !== undefined; field = reader.field()) {
    if (field === contents.fp32) values.push(...elementsOf(reader.view(), 'FP32'));
    else if (field === contents.int64) values.push(...varintsOf(reader.view()));
    else reader.skip();
  }
  return values;
}

function varintsOf(packed: Buffer): readonly number[] {
  const reader = new ProtobufReader(packed);
  const values: number[] = [];
  while (!reader.isAtEnd) values.push(reader.varint());
  return values;
}

function elementsOf(bytes: Buffer, datatype: string): readonly number[] {
  const size = datatype === 'FP32' ? 4 : 8;
  return Array.from({ length: bytes.length / size }, (_, index) =>
    size === 4 ? bytes.readFloatLE(4 * index) : Number(bytes.readBigInt64LE(8 * index)),
  );
}

/**
 * Makes src/serving/generated from protos/: what the reflection service tells of the services. With --check it only says
 * whether it is current.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import { bringUpToDate } from './generated-file.ts';
import { ProtobufWriter } from './src/protocol/protobuf.ts';

const folder = join(import.meta.dirname, 'protos');
const target = join(import.meta.dirname, 'src/serving/generated/grpc-descriptors.ts');

/** The numbers of FieldDescriptorProto.Type. */
const scalarTypes: Readonly<Record<string, number>> = {
  double: 1,
  float: 2,
  int64: 3,
  uint64: 4,
  int32: 5,
  bool: 8,
  string: 9,
  bytes: 12,
  uint32: 13,
};
const messageType = 11;
const enumType = 14;
const labels = { optional: 1, repeated: 3 };

/** A FieldDescriptorProto. */
function fieldDescriptor(field: protobuf.Field, typeName: string | undefined, oneof: number): ProtobufWriter {
  const { resolvedType } = field;
  const type = typeName !== undefined || resolvedType instanceof protobuf.Type ? messageType : enumType;
  const writer = new ProtobufWriter()
    .text(1, field.name)
    .number(3, field.id)
    .number(4, field.repeated || field.map ? labels.repeated : labels.optional)
    .number(5, scalarTypes[field.type] !== undefined && typeName === undefined ? (scalarTypes[field.type] ?? 0) : type)
    .text(6, typeName ?? resolvedType?.fullName ?? '');
  if (oneof !== -1) writer.number(9, oneof);
  return writer.text(10, camelCase(field.name));
}

function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** The message that stands for an entry of a map. */
function entryDescriptor(field: protobuf.MapField, name: string): ProtobufWriter {
  const key = new protobuf.Field('key', 1, field.keyType);
  return new ProtobufWriter()
    .text(1, name)
    .message(2, fieldDescriptor(key, undefined, -1))
    .message(2, valueDescriptor(field))
    .message(7, new ProtobufWriter().number(7, true));
}

function valueDescriptor({ resolvedType }: protobuf.MapField): ProtobufWriter {
  return new ProtobufWriter()
    .text(1, 'value')
    .number(3, 2)
    .number(4, labels.optional)
    .number(5, resolvedType instanceof protobuf.Enum ? enumType : messageType)
    .text(6, resolvedType?.fullName ?? '')
    .text(10, 'value');
}

/** A DescriptorProto. */
function messageDescriptor(type: protobuf.Type): ProtobufWriter {
  const writer = new ProtobufWriter().text(1, type.name);
  const oneofs = type.oneofsArray;
  for (const field of type.fieldsArray) {
    const oneof = field.partOf === null ? -1 : oneofs.indexOf(field.partOf);
    if (!(field instanceof protobuf.MapField)) {
      writer.message(2, fieldDescriptor(field, undefined, oneof));
      continue;
    }
    if (field.resolvedType === null) throw new Error(`${field.fullName}: maps of scalars are not known here`);
    const entry = `${field.name.charAt(0).toUpperCase()}${camelCase(field.name).slice(1)}Entry`;
    writer.message(2, fieldDescriptor(field, `${type.fullName}.${entry}`, -1));
    writer.message(3, entryDescriptor(field, entry));
  }
  for (const nested of type.nestedArray) {
    if (nested instanceof protobuf.Type) writer.message(3, messageDescriptor(nested));
    if (nested instanceof protobuf.Enum) writer.message(4, enumDescriptor(nested));
  }
  for (const { name } of oneofs) writer.message(8, new ProtobufWriter().text(1, name));
  return writer;
}

function enumDescriptor({ name, values }: protobuf.Enum): ProtobufWriter {
  const writer = new ProtobufWriter().text(1, name);
  for (const [key, value] of Object.entries(values)) {
    writer.message(2, new ProtobufWriter().text(1, key).number(2, value));
  }
  return writer;
}

function serviceDescriptor(service: protobuf.Service): ProtobufWriter {
  const writer = new ProtobufWriter().text(1, service.name);
  for (const method of service.methodsArray) {
    const { name, resolvedRequestType, resolvedResponseType, requestStream, responseStream } = method;
    const descriptor = new ProtobufWriter()
      .text(1, name)
      .text(2, resolvedRequestType?.fullName ?? '')
      .text(3, resolvedResponseType?.fullName ?? '');
    if (requestStream === true) descriptor.number(5, true);
    if (responseStream === true) descriptor.number(6, true);
    writer.message(2, descriptor);
  }
  return writer;
}

function symbolsOf(object: protobuf.ReflectionObject): string[] {
  const name = object.fullName.slice(1);
  if (object instanceof protobuf.Service)
    return [name, ...object.methodsArray.map((method) => `${name}.${method.name}`)];
  return object instanceof protobuf.Type ? [name, ...object.nestedArray.flatMap(symbolsOf)] : [name];
}

/** What a file defines, of a package that may be spread over several. */
function definedIn(file: string, root: protobuf.Root, packageName: string): protobuf.ReflectionObject[] {
  const space = root.lookup(packageName);
  if (!(space instanceof protobuf.Namespace)) throw new Error(`${file}: there is no package ${packageName}`);
  return space.nestedArray.filter((object) => !(object.constructor === protobuf.Namespace) && object.filename === file);
}

function describe(file: string) {
  const source = readFileSync(join(folder, file), 'utf8');
  const root = new protobuf.Root();
  root.resolvePath = (_origin, name) => join(folder, name);
  const dependencies = Array.from(source.matchAll(/^import "([^"]+)";/gm), ([, name = '']) => name);
  root.loadSync(dependencies, { keepCase: true });
  Object.assign(protobuf.parse, { filename: file });
  const packageName = protobuf.parse(source, root, { keepCase: true }).package ?? '';
  root.resolveAll();
  const objects = definedIn(file, root, packageName);
  const writer = new ProtobufWriter().text(1, file).text(2, packageName);
  for (const dependency of dependencies) writer.text(3, dependency);
  for (const object of objects) {
    if (object instanceof protobuf.Type) writer.message(4, messageDescriptor(object));
    if (object instanceof protobuf.Enum) writer.message(5, enumDescriptor(object));
    if (object instanceof protobuf.Service) writer.message(6, serviceDescriptor(object));
  }
  writer.text(12, 'proto3');
  const descriptor = Buffer.concat(writer.finish()).toString('base64');
  return { file, dependencies, symbols: objects.flatMap(symbolsOf), descriptor };
}

const files = [
  'open_inference_grpc.proto',
  'tensorflow.proto',
  'tensorflow_serving.proto',
  'health.proto',
  'reflection.proto',
  'google/protobuf/any.proto',
  'google/protobuf/wrappers.proto',
];
const text = `/** Made by inference-pod/generate.ts from protos/: the files, what each imports and defines, and its FileDescriptorProto. */
export const grpcDescriptors = ${JSON.stringify(files.map(describe), null, 2)} as const;
`;

bringUpToDate(target, text, 'protos/');

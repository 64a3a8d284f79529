import { type Datatype, elementCount, type Signature, type TensorSignature } from './datatypes.ts';
import { detectionPath } from './detections.ts';
import { type ModelIdentity, serverMetadata } from './open-inference.ts';
import { jsonContent } from './openapi-content.ts';
import { handlerOperation, handlerPath } from './openapi-handler.ts';
import { tableOperation } from './openapi-table.ts';
import { taskOperation } from './openapi-tasks.ts';
import type { Column } from './tables.ts';
import { describeShape } from './tensor-shape.ts';
import { signatureName } from './tensorflow-metadata.ts';
import { type AnyWire, isTaskWire } from './wires.ts';

/** Larger tensors are in no example. */
const mostExampleElements = 4096;

/** What a task takes, where, and what is said of its columns. */
export interface DocumentedTask {
  readonly wire: AnyWire;
  readonly paths: readonly string[];
  readonly columns: readonly Column[] | undefined;
}

/** An OpenAPI 3.1 document of what a pod serves over HTTP, with the schema of the model that it has loaded. */
export function openApiDocument(
  { name, version }: ModelIdentity,
  signature: Signature,
  task: DocumentedTask | undefined,
  hasHandler: boolean,
): object {
  const [taskPath = ''] = task?.paths ?? [];
  const model = `/v2/models/${name}`;
  const tensorflow = `/v1/models/${name}`;
  const infer = inferOperation(signature);
  return {
    openapi: '3.1.0',
    info: {
      title: name,
      version,
      description: `The model ${name}, version ${version}, over the Open Inference Protocol v2 and the REST API of TensorFlow Serving.`,
    },
    servers: [{ url: '/' }],
    paths: {
      '/v2': { get: readOperation('About the server', serverSchema) },
      '/v2/health/live': { get: readOperation('Whether the process runs', flag('live')) },
      '/v2/health/ready': { get: readOperation('Whether it can be asked', flag('ready'), flag('ready')) },
      [model]: { get: readOperation('What the model takes and gives', metadataSchema, errorSchema) },
      [`${model}/ready`]: { get: readOperation('Whether the model can be asked', readySchema, readySchema) },
      [`${model}/config`]: { get: readOperation('The configuration, as Triton tells it', anyObject, errorSchema) },
      [`${model}/stats`]: { get: readOperation('How many inferences there were', anyObject) },
      [`${model}/infer`]: { post: infer },
      [`${model}/versions/${version}/infer`]: { post: { ...infer, operationId: 'inferVersion' } },
      [tensorflow]: { get: readOperation("The status, as TensorFlow Serving's", anyObject) },
      [`${tensorflow}/metadata`]: {
        get: readOperation("The metadata, as TensorFlow Serving's", anyObject, errorSchema),
      },
      [`${tensorflow}:predict`]: { post: predictOperation(signature) },
      '/v1/models': { get: readOperation("The model, as OpenAI's clients look for it", anyObject) },
      ...(hasHandler ? { [handlerPath]: { post: handlerOperation } } : {}),
      ...(task === undefined ? {} : { [taskPath]: { post: operationOf(task, name, signature) } }),
    },
    components: {
      schemas: {
        Error: {
          type: 'object',
          required: ['error'],
          properties: { error: { type: 'string', description: 'What is wrong, and what was expected.' } },
        },
        InferenceRequest: requestSchema(signature),
        InferenceResponse: responseSchema({ name, version }, signature),
      },
    },
  };
}

function operationOf({ wire, paths, columns }: DocumentedTask, name: string, signature: Signature): object {
  return isTaskWire(wire)
    ? taskOperation(paths.includes(detectionPath) ? 'detections' : wire, name)
    : tableOperation(signature, columns);
}

const errorSchema = { $ref: '#/components/schemas/Error' };
const anyObject = { type: 'object' };

function flag(name: string): object {
  return { type: 'object', required: [name], properties: { [name]: { type: 'boolean' } } };
}

const readySchema = {
  type: 'object',
  required: ['name', 'ready'],
  properties: { name: { type: 'string' }, ready: { type: 'boolean' } },
};

const serverSchema = {
  type: 'object',
  required: ['name', 'version', 'extensions'],
  properties: {
    name: { const: serverMetadata.name },
    version: { type: 'string' },
    extensions: { type: 'array', items: { type: 'string' } },
  },
};

const tensorMetadataSchema = {
  type: 'object',
  required: ['name', 'datatype', 'shape'],
  properties: {
    name: { type: 'string' },
    datatype: { type: 'string' },
    shape: { type: 'array', items: { type: 'integer', minimum: -1 }, description: '-1 is any size.' },
  },
};

const metadataSchema = {
  type: 'object',
  required: ['name', 'versions', 'platform', 'inputs', 'outputs'],
  properties: {
    name: { type: 'string' },
    versions: { type: 'array', items: { type: 'string' } },
    platform: { type: 'string' },
    inputs: { type: 'array', items: tensorMetadataSchema },
    outputs: { type: 'array', items: tensorMetadataSchema },
  },
};

/** @param unavailable what is answered while the model is loaded; undefined for what is always there */
function readOperation(summary: string, schema: object, unavailable?: object): object {
  return {
    summary,
    responses: {
      200: { description: 'As asked.', ...jsonContent(schema) },
      ...(unavailable === undefined ? {} : { 503: { description: 'Not ready.', ...jsonContent(unavailable) } }),
    },
  };
}

/** What an inference can be refused with. */
const refusals = {
  400: 'Not what the model takes: the message names the input and what was expected.',
  408: 'The body comes too slowly.',
  413: 'Too large.',
  415: 'An encoding or type that is not known.',
  500: 'The model failed.',
  503: 'Too many requests, or not ready: try again.',
  504: 'No answer within the time that it may take.',
};

function inferOperation(signature: Signature): object {
  const example = exampleRequest(signature);
  return {
    operationId: 'infer',
    summary: 'A prediction',
    parameters: [
      {
        name: 'x-request-timeout-ms',
        in: 'header',
        required: false,
        description: 'How long the answer may take.',
        schema: { type: 'integer', minimum: 1, maximum: 999_999_999 },
      },
    ],
    requestBody: {
      required: true,
      ...jsonContent({ $ref: '#/components/schemas/InferenceRequest' }, example),
    },
    responses: responses({ $ref: '#/components/schemas/InferenceResponse' }),
  };
}

function predictOperation({ inputs }: Signature): object {
  const named = (schemaOf: (input: TensorSignature) => object) => ({
    type: 'object',
    required: inputs.map(({ name }) => name),
    properties: Object.fromEntries(inputs.map((input) => [input.name, schemaOf(input)])),
  });
  const row = ({ shape, datatype }: TensorSignature) => nestedSchema(shape.slice(1), datatype);
  const column = ({ shape, datatype }: TensorSignature) => nestedSchema(shape, datatype);
  const [only, ...others] = inputs;
  const bareOrNamed = (schemaOf: (input: TensorSignature) => object) =>
    only !== undefined && others.length === 0 ? { anyOf: [schemaOf(only), named(schemaOf)] } : named(schemaOf);
  return {
    operationId: 'predict',
    summary: 'A prediction in the form of TensorFlow Serving',
    requestBody: {
      required: true,
      ...jsonContent({
        type: 'object',
        description: 'instances in row format, or inputs in column format.',
        properties: {
          signature_name: { const: signatureName },
          instances: { type: 'array', minItems: 1, items: bareOrNamed(row) },
          inputs: bareOrNamed(column),
        },
        oneOf: [{ required: ['instances'] }, { required: ['inputs'] }],
      }),
    },
    responses: responses({
      type: 'object',
      properties: { predictions: { type: 'array' }, outputs: {} },
      oneOf: [{ required: ['predictions'] }, { required: ['outputs'] }],
    }),
  };
}

/** Lists nested as a shape is. */
function nestedSchema([size, ...inner]: readonly number[], datatype: Datatype): object {
  if (size === undefined) return scalarSchema(datatype);
  const items = nestedSchema(inner, datatype);
  return size === -1 ? { type: 'array', minItems: 1, items } : { type: 'array', minItems: size, maxItems: size, items };
}

function responses(schema: object): object {
  const errors = Object.entries(refusals).map(([status, description]) => [
    status,
    { description, ...jsonContent(errorSchema) },
  ]);
  return { 200: { description: 'The prediction.', ...jsonContent(schema) }, ...Object.fromEntries(errors) };
}

function requestSchema({ inputs, outputs }: Signature): object {
  return {
    type: 'object',
    required: ['inputs'],
    properties: {
      id: { type: 'string', description: 'Given back in the answer.' },
      inputs: {
        type: 'array',
        minItems: inputs.length,
        maxItems: inputs.length,
        prefixItems: inputs.map(inputSchema),
      },
      outputs: {
        type: 'array',
        description: 'The outputs to answer with; all, when absent.',
        items: {
          type: 'object',
          required: ['name'],
          properties: { name: { enum: outputs.map(({ name }) => name) } },
        },
      },
      parameters: {
        type: 'object',
        properties: { non_finite: { enum: ['bare', 'string', 'null'], description: 'How NaN and infinities come.' } },
      },
    },
  };
}

function inputSchema(input: TensorSignature): object {
  return {
    type: 'object',
    description: describeShape(input),
    required: ['name', 'datatype', 'shape', 'data'],
    properties: {
      name: { const: input.name },
      datatype: { const: input.datatype },
      shape: shapeSchema(input.shape, 0),
      data: { type: 'array', description: 'Flat, or nested as the shape.', items: elementSchema(input.datatype) },
    },
  };
}

function shapeSchema(shape: readonly number[], least: number): object {
  if (shape.length === 0) return { type: 'array', items: { type: 'integer', minimum: least } };
  return {
    type: 'array',
    minItems: shape.length,
    maxItems: shape.length,
    prefixItems: shape.map((size) => (size === -1 ? { type: 'integer', minimum: least } : { const: size })),
  };
}

/** An element, or a list of them. */
function elementSchema(datatype: Datatype): object {
  return { anyOf: [scalarSchema(datatype), { type: 'array' }] };
}

function scalarSchema(datatype: Datatype): object {
  switch (datatype) {
    case 'BOOL':
      return { enum: [true, false, 0, 1] };
    case 'BYTES':
      return { type: 'string', pattern: '^[^\\u0000]*$' };
    case 'FP16':
    case 'FP32':
    case 'FP64':
      return { type: 'number', ...rangeOf(datatype) };
    default:
      return { type: 'integer', ...rangeOf(datatype) };
  }
}

/** What an element may be; the bounds of 64-bit integers are rounded to doubles by what reads this. */
function rangeOf(datatype: Exclude<Datatype, 'BOOL' | 'BYTES'>): object {
  const bits = Number(datatype.replace(/\D+/, ''));
  if (datatype === 'FP64') return {};
  // What is rounded to infinity is refused.
  if (datatype === 'FP32') return { exclusiveMinimum: -3.4028235677973366e38, exclusiveMaximum: 3.4028235677973366e38 };
  if (datatype === 'FP16') return { exclusiveMinimum: -65520, exclusiveMaximum: 65520 };
  if (datatype.startsWith('UINT')) return { minimum: 0, maximum: 2 ** bits - 1 };
  return { minimum: -(2 ** (bits - 1)), maximum: 2 ** (bits - 1) - 1 };
}

function responseSchema({ name, version }: ModelIdentity, { outputs }: Signature): object {
  return {
    type: 'object',
    required: ['model_name', 'model_version', 'outputs'],
    properties: {
      model_name: { const: name },
      model_version: { const: version },
      id: { type: 'string' },
      outputs: {
        type: 'array',
        items: {
          type: 'object',
          required: ['name', 'datatype', 'shape', 'data'],
          properties: {
            name: { enum: outputs.map((output) => output.name) },
            datatype: { type: 'string' },
            shape: { type: 'array', items: { type: 'integer', minimum: 0 } },
            data: { type: 'array' },
          },
        },
      },
    },
  };
}

/** A request of zeros that the model takes by its shapes, each free dimension 1; undefined for one that is too large. */
export function exampleRequest({ inputs }: Signature): object | undefined {
  const shapes = inputs.map(({ shape }) => shape.map((size) => (size === -1 ? 1 : size)));
  if (shapes.some((shape) => elementCount(shape) > mostExampleElements)) return undefined;
  return {
    inputs: inputs.map(({ name, datatype }, index) => {
      const shape = shapes[index] ?? [];
      const zero = datatype === 'BYTES' ? '' : datatype === 'BOOL' ? false : 0;
      return { name, datatype, shape, data: new Array(elementCount(shape)).fill(zero) };
    }),
  };
}

import { copyFile, cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pythonWith } from '../../inference-pod/test/clients/environment.ts';
import { run } from '../cluster/command.ts';
import { step } from '../cluster/progress.ts';
import type { Assignment, Contender } from './contenders.ts';
import type { ServerCommand } from './running-server.ts';

const folder = join(import.meta.dirname, 'peers');

interface Peer extends Pick<Contender, 'name' | 'title' | 'forms'> {
  readonly readyPath?: string;
  /** The list of what it is installed from. */
  readonly requirements: string;
  readonly start: (python: string, assignment: Assignment) => Promise<ServerCommand>;
}

/** Other servers of models, each as its own documentation recommends for one core. */
export const peers: readonly Contender[] = [
  peer({
    name: 'triton',
    title: 'NVIDIA Triton, Python backend',
    forms: ['json', 'binary', 'grpc'],
    requirements: 'triton.txt',
    start: startTriton,
  }),
  peer({
    name: 'fastapi',
    title: 'FastAPI, uvicorn, orjson',
    forms: ['json', 'binary'],
    requirements: 'web.txt',
    start: async (python, assignment) => ({
      command: [python, join(folder, 'fastapi_server.py')],
      env: environmentOf(assignment),
    }),
  }),
  peer({
    name: 'flask',
    title: 'Flask, gunicorn, orjson',
    forms: ['json', 'binary'],
    requirements: 'web.txt',
    start: async (python, assignment) => ({
      command: [
        ...[python, '-m', 'gunicorn', '--chdir', folder, '--bind', `127.0.0.1:${assignment.ports.http}`],
        // The other workers close each connection behind its first answer.
        ...['--worker-class', 'gthread', '--workers', '1', '--threads', '8'],
        ...['--no-control-socket', 'flask_server:app'],
      ],
      env: environmentOf(assignment),
    }),
  }),
  peer({
    name: 'mlserver',
    title: 'MLServer',
    forms: ['json', 'grpc'],
    requirements: 'mlserver.txt',
    start: startMLServer,
  }),
  peer({
    name: 'kserve',
    title: 'KServe Python server',
    forms: ['json', 'binary', 'grpc'],
    requirements: 'kserve.txt',
    start: async (python, assignment) => ({
      command: [python, join(folder, 'kserve_server.py')],
      env: environmentOf(assignment),
    }),
  }),
  peer({
    name: 'bentoml',
    title: 'BentoML',
    forms: ['json'],
    readyPath: '/readyz',
    requirements: 'bentoml.txt',
    start: async (python, assignment) => ({
      command: [
        ...[python, '-m', 'bentoml', 'serve', 'bentoml_server:OnnxRuntime', '--working-dir', folder],
        ...['--host', '127.0.0.1', '--port', String(assignment.ports.http)],
      ],
      env: { ...environmentOf(assignment), BENTOML_HOME: assignment.directory, BENTOML_DO_NOT_TRACK: 'True' },
    }),
  }),
];

function peer({ readyPath = '/v2/health/ready', requirements, start, ...rest }: Peer): Contender {
  return {
    ...rest,
    kind: 'peer',
    readyPath,
    async install() {
      const list = join(folder, 'requirements', requirements);
      const python = await step(`installing ${rest.title}`, () => pythonWith(list));
      return (assignment) => start(python, assignment);
    },
  };
}

function environmentOf({ model, ports }: Assignment): Record<string, string> {
  return {
    MODEL_FILE: model,
    PORT: String(ports.http),
    GRPC_PORT: String(ports.grpc),
    // The repository is not theirs to write in.
    PYTHONDONTWRITEBYTECODE: '1',
  };
}

async function startMLServer(python: string, assignment: Assignment): Promise<ServerCommand> {
  const { ports, directory } = assignment;
  return {
    command: [python, '-c', 'from mlserver.cli import main; main()', 'start', directory],
    env: {
      ...environmentOf(assignment),
      PYTHONPATH: folder,
      MLSERVER_HOST: '127.0.0.1',
      MLSERVER_HTTP_PORT: String(ports.http),
      MLSERVER_GRPC_PORT: String(ports.grpc),
      MLSERVER_METRICS_PORT: String(ports.control),
      MLSERVER_DEBUG: 'false',
      // One core has nothing to share out.
      MLSERVER_PARALLEL_WORKERS: '0',
      MLSERVER_MODEL_NAME: 'model',
      MLSERVER_MODEL_IMPLEMENTATION: 'mlserver_runtime.OnnxRuntime',
    },
  };
}

const whereTritonIs = `
import sys, sysconfig
print(sysconfig.get_path('purelib'))
print(f'{sys.version_info[0]}.{sys.version_info[1]}')
`;

/** The package has no ONNX backend, so the model runs in Triton's Python backend, whose process is made for one Python. */
async function startTriton(python: string, assignment: Assignment): Promise<ServerCommand> {
  const { ports, directory } = assignment;
  const [packages = '', version = ''] = (await run(python, ['-c', whereTritonIs])).trim().split('\n');
  const triton = join(packages, 'pytriton/tritonserver');
  const backends = join(directory, 'backends');
  const models = join(directory, 'models');
  await cp(join(triton, 'backends'), backends, { recursive: true });
  const stub = 'triton_python_backend_stub';
  await copyFile(join(triton, 'python_backend_stubs', version, stub), join(backends, 'python', stub));
  await mkdir(join(models, 'model/1'), { recursive: true });
  await writeFile(
    join(models, 'model/config.pbtxt'),
    'backend: "python"\ninstance_group [{ kind: KIND_CPU, count: 1 }]\n',
  );
  await copyFile(join(folder, 'triton_model.py'), join(models, 'model/1/model.py'));
  await copyFile(join(folder, 'session.py'), join(models, 'model/1/session.py'));
  return {
    command: [
      ...[join(triton, 'bin/tritonserver'), '--model-repository', models, '--backend-directory', backends],
      ...['--http-address', '127.0.0.1', '--http-port', String(ports.http)],
      ...['--grpc-address', '127.0.0.1', '--grpc-port', String(ports.grpc)],
      ...['--metrics-address', '127.0.0.1', '--metrics-port', String(ports.control), '--log-info', 'false'],
    ],
    env: {
      ...environmentOf(assignment),
      LD_LIBRARY_PATH: join(packages, 'nvidia_pytriton.libs'),
      PATH: `${join(python, '..')}:${process.env['PATH']}`,
    },
  };
}

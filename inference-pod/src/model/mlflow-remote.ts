import type { ModelUri } from '../../../contract/src/model-uri.ts';
import type { Credentials } from './credentials.ts';
import { membersOf, parsedJson, textOf } from './json-members.ts';
import { askSmall } from './redirects.ts';
import {
  type Explanation,
  encoded,
  encodedPath,
  endpointOf,
  type RefusedAnswer,
  type Remote,
  type RequestContext,
} from './remote.ts';
import { StartupError } from './startup-error.ts';

type RegisteredModel = Extract<ModelUri, { readonly scheme: 'mlflow' }>;

const mostBytes = 2 ** 20;

/**
 * A file of a model version in the registry of an MLflow tracking server (MLflow's REST API, 2.0), at MLFLOW_TRACKING_URI. The server
 * hands it out itself, or tells the store that has it, which is then asked with the credentials of the same Secret.
 *
 * @param remoteOf what stands for a URI of such a store
 */
export function mlflowRemote(
  { model, reference, path }: RegisteredModel,
  credentials: Credentials,
  remoteOf: (uri: string) => Remote,
): Remote {
  const server = new TrackingServer(credentials);
  const nameOf = (of: RegisteredModel['reference']) =>
    `mlflow://${encoded(model)}${of.kind === 'alias' ? `@${encoded(of.alias)}` : `/${of.version}`}/${path}`;
  const ask = (context: RequestContext) =>
    server.versionOf(model, reference.kind === 'alias' ? reference.alias : '', context);
  let version = reference.kind === 'version' ? reference.version : undefined;
  let artifacts: string | undefined;
  let store: Remote | undefined;
  return {
    name: nameOf(reference),
    async request(context) {
      version ??= await ask(context);
      artifacts ??= await server.artifactsOf(model, version, context);
      const served = /^mlflow-artifacts:(?:\/\/[^/]*)?\/(.*)$/.exec(artifacts)?.[1];
      if (served !== undefined)
        return server.requestOf(`mlflow-artifacts/artifacts/${encodedPath(`${served}/${path}`)}`);
      store ??= remoteOf(`${storeUri(artifacts)}/${path}`);
      return store.request(context);
    },
    resolvedUri: () => (version === undefined ? undefined : nameOf({ kind: 'version', version })),
    resolve: async (context) => nameOf({ kind: 'version', version: await ask(context) }),
    explain: (answer) => (store === undefined ? explained(answer) : store.explain?.(answer)),
  };
}

/**
 * Where a tracking server has said that artifacts are.
 *
 * @throws StartupError for what no pod can read
 */
function storeUri(artifacts: string): string {
  const azure = /^wasbs?:\/\/([^@/]+)@([a-z0-9]+)\.blob\.[^/]+\/(.*)$/.exec(artifacts);
  if (azure !== null) return `azblob://${azure[2]}/${azure[1]}/${azure[3]}`;
  if (/^(s3|gs|https?):\/\//.test(artifacts)) return artifacts;
  throw new StartupError(
    'ModelFetchFailed',
    `the tracking server has the model in ${artifacts.slice(0, 256)}, which no pod can read: let it serve its artifacts (mlflow server --serve-artifacts), or keep them in s3, gs or wasbs`,
  );
}

class TrackingServer {
  readonly #credentials: Credentials;

  constructor(credentials: Credentials) {
    this.#credentials = credentials;
  }

  /** @throws StartupError InvalidConfiguration */
  requestOf(path: string) {
    const server = endpointOf(this.#credentials, 'MLFLOW_TRACKING_URI');
    if (server === undefined)
      throw new StartupError(
        'InvalidConfiguration',
        'MLFLOW_TRACKING_URI is missing: give it in the Secret of spec.model.secretName or in spec.pod.env',
      );
    const authorization = this.#authorization();
    return {
      url: new URL(`${server}/api/2.0/${path}`),
      headers: authorization === undefined ? {} : { authorization },
    };
  }

  #authorization(): string | undefined {
    const token = this.#credentials.get('MLFLOW_TRACKING_TOKEN');
    if (token !== undefined) return `Bearer ${token}`;
    const user = this.#credentials.get('MLFLOW_TRACKING_USERNAME');
    const password = this.#credentials.get('MLFLOW_TRACKING_PASSWORD') ?? '';
    return user === undefined ? undefined : `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  }

  async versionOf(model: string, alias: string, context: RequestContext): Promise<string> {
    const told = await this.#ask(
      `mlflow/registered-models/alias?${new URLSearchParams({ name: model, alias })}`,
      context,
    );
    const version = textOf(membersOf(told).get('model_version'), 'version');
    if (version !== undefined && /^\d{1,10}$/.test(version)) return version;
    throw new StartupError('ModelFetchFailed', `the tracking server tells no version for the alias ${alias}`);
  }

  async artifactsOf(model: string, version: string, context: RequestContext): Promise<string> {
    const query = new URLSearchParams({ name: model, version });
    const uri = textOf(await this.#ask(`mlflow/model-versions/get-download-uri?${query}`, context), 'artifact_uri');
    if (uri !== undefined) return uri.replace(/\/+$/, '');
    throw new StartupError('ModelFetchFailed', `the tracking server does not tell where version ${version} is`);
  }

  /** @throws StartupError where it is refused; Error where that may pass */
  async #ask(path: string, context: RequestContext): Promise<unknown> {
    const { status, body } = await askSmall(this.requestOf(path), { ...context, headers: {} }, mostBytes);
    if (status === 200) return parsed(body);
    const { isMissing, advice } = explained({ status, body });
    throw new StartupError(
      isMissing ? 'ModelNotFound' : 'ModelFetchFailed',
      `the tracking server answered ${status}: ${advice}`,
    );
  }
}

function parsed(body: string): unknown {
  const told = parsedJson(body);
  if (told !== undefined) return told;
  throw new StartupError(
    'ModelFetchFailed',
    'the tracking server answers with what is no JSON: check MLFLOW_TRACKING_URI',
  );
}

function explained({ status, body }: Pick<RefusedAnswer, 'status' | 'body'>): Explanation {
  if (status === 404 || body.includes('RESOURCE_DOES_NOT_EXIST') || (status === 400 && body.includes('not found')))
    return { isMissing: true, advice: 'it has no such model, version, alias or file: check spec.model.uri' };
  const isOfAccount = status === 401 || status === 403;
  return {
    isMissing: false,
    advice: isOfAccount
      ? 'check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, of the Secret of spec.model.secretName'
      : 'check spec.model.uri and MLFLOW_TRACKING_URI',
  };
}

import { createHash, createHmac } from 'node:crypto';
import type { Credentials } from './credentials.ts';
import {
  type Explanation,
  encodedPath,
  endpointOf,
  type RefusedAnswer,
  type Remote,
  type RemoteRequest,
} from './remote.ts';
import { StartupError } from './startup-error.ts';

interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

/**
 * An object of a store that speaks Amazon's S3: at AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, or Amazon's own in AWS_REGION. Signed with
 * the keys of the Secret, or with what AWS's own chain of credentials finds (IRSA, Pod Identity, the instance's role); without
 * any, it is asked for as anybody would.
 */
export function s3Remote(bucket: string, key: string, credentials: Credentials): Remote {
  const name = `s3://${bucket}/${key}`;
  let chain: (() => Promise<Keys | undefined>) | undefined;
  return {
    name,
    async request() {
      let found = keysOfSecret(credentials);
      if (found === undefined) {
        chain ??= await keysOfChain();
        found = await chain();
      }
      const region = credentials.get('AWS_REGION') ?? credentials.get('AWS_DEFAULT_REGION') ?? 'us-east-1';
      const url = objectUrl(bucket, key, region, credentials);
      return found === undefined ? { url, headers: {} } : signed(url, region, found);
    },
    explain: (answer) => explained(answer, credentials),
  };
}

/** @throws StartupError InvalidConfiguration */
function objectUrl(bucket: string, key: string, region: string, credentials: Credentials): URL {
  // As AWS signs it.
  const path = encodedPath(key);
  const endpoint = endpointOf(credentials, 'AWS_ENDPOINT_URL_S3') ?? endpointOf(credentials, 'AWS_ENDPOINT_URL');
  if (endpoint !== undefined) return new URL(`${endpoint}/${bucket}/${path}`);
  // Of a name with dots, no certificate is good for the host that has it in front.
  const host = `s3.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
  return bucket.includes('.')
    ? new URL(`https://${host}/${bucket}/${path}`)
    : new URL(`https://${bucket}.${host}/${path}`);
}

/**
 * The keys of the Secret, all of one reading: it may be renewed.
 *
 * @throws StartupError InvalidConfiguration where half of what is needed is there
 */
function keysOfSecret(credentials: Credentials): Keys | undefined {
  const [id, secret] = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'] as const;
  const [accessKeyId, secretAccessKey] = [credentials.ofSecret(id), credentials.ofSecret(secret)];
  if (accessKeyId === undefined && secretAccessKey === undefined) return undefined;
  if (accessKeyId === undefined || secretAccessKey === undefined)
    throw new StartupError(
      'InvalidConfiguration',
      `the Secret of spec.model.secretName has no key ${accessKeyId === undefined ? id : secret}: add it`,
    );
  return { accessKeyId, secretAccessKey, sessionToken: credentials.ofSecret('AWS_SESSION_TOKEN') };
}

async function keysOfChain(): Promise<() => Promise<Keys | undefined>> {
  // Much of it is for other ways than this pod's: it is loaded only where it is needed.
  const { defaultProvider } = await import('@aws-sdk/credential-provider-node');
  const provider = defaultProvider({ maxRetries: 1, timeout: 2000 });
  return async () => {
    try {
      return await provider();
    } catch (error) {
      if (error instanceof Error && error.name === 'CredentialsProviderError') return undefined;
      throw isRefusal(error) ? noCredentials(error) : error;
    }
  };
}

/** Whether whoever gives credentials has said no, which it will say again. */
function isRefusal(error: unknown): boolean {
  const told = typeof error === 'object' && error !== null && '$metadata' in error ? error.$metadata : undefined;
  const status =
    typeof told === 'object' && told !== null && 'httpStatusCode' in told ? Number(told.httpStatusCode) : 0;
  return status >= 400 && status < 500 && status !== 408 && status !== 429;
}

function noCredentials(cause: unknown): StartupError {
  const name = cause instanceof Error && /^\w{1,64}$/.test(cause.name) ? cause.name : 'refused';
  return new StartupError(
    'ModelFetchFailed',
    `AWS gives no credentials for the service account of the pod (${name}): check the role of spec.pod.serviceAccountName`,
    { cause },
  );
}

/** AWS's own signer, Signature Version 4. */
async function signed(url: URL, region: string, credentials: Keys): Promise<RemoteRequest> {
  const { SignatureV4 } = await import('@smithy/signature-v4');
  const { sessionToken, ...keys } = credentials;
  const signer = new SignatureV4({
    service: 's3',
    region,
    credentials: sessionToken === undefined ? keys : { ...keys, sessionToken },
    sha256: Sha256,
    // The path of an object is encoded once.
    uriEscapePath: false,
  });
  const { headers } = await signer.sign({
    method: 'GET',
    protocol: url.protocol,
    hostname: url.hostname,
    ...(url.port === '' ? {} : { port: Number(url.port) }),
    path: url.pathname,
    headers: { host: url.host, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' },
  });
  const { host: _, ...others } = headers;
  return { url, headers: others };
}

/** SHA-256 and its HMAC, in the form that the signer takes. */
class Sha256 {
  readonly #hash: ReturnType<typeof createHash> | ReturnType<typeof createHmac>;

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', bytesOf(secret));
  }

  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(bytesOf(data));
  }

  digest(): Promise<Uint8Array> {
    return Promise.resolve(this.#hash.digest());
  }

  reset(): void {
    throw new Error('nothing is signed twice');
  }
}

function bytesOf(data: string | ArrayBuffer | ArrayBufferView): Buffer {
  if (typeof data === 'string') return Buffer.from(data);
  return data instanceof ArrayBuffer ? Buffer.from(data) : Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

/** What a store means by its codes, by the names of keys and never by their values (docs.aws.amazon.com: S3, error responses). */
function explained({ status, headers, body }: RefusedAnswer, credentials: Credentials): Explanation | undefined {
  const code = /<Code>([A-Za-z]{1,64})<\/Code>/.exec(body)?.[1] ?? '';
  const region = /<Region>([-a-z0-9]{1,32})<\/Region>/.exec(body)?.[1] ?? headers['x-amz-bucket-region'];
  const because = (advice: string) => ({ isMissing: false, advice: code === '' ? advice : `${code}: ${advice}` });
  if (code === 'NoSuchKey' || code === 'NoSuchBucket') {
    const what = code === 'NoSuchKey' ? 'the bucket has no such object' : 'there is no such bucket';
    return { isMissing: true, advice: `${what}: check spec.model.uri` };
  }
  const isOfRegion = status === 301 || code === 'PermanentRedirect' || code === 'AuthorizationHeaderMalformed';
  if (isOfRegion)
    return because(
      `the bucket is in ${typeof region === 'string' ? region : 'another region'}: set AWS_REGION in the Secret of spec.model.secretName`,
    );
  const isOfKeys = status === 401 || status === 403 || code === 'InvalidAccessKeyId' || code === 'ExpiredToken';
  if (!isOfKeys) return code === '' ? undefined : because('check spec.model.uri, and that the object may be read');
  return because(
    credentials.ofSecret('AWS_ACCESS_KEY_ID') === undefined
      ? 'no AWS_ACCESS_KEY_ID was given: set spec.model.secretName, or let the service account of spec.pod.serviceAccountName read the bucket'
      : 'check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION of the Secret of spec.model.secretName, and what they may read',
  );
}

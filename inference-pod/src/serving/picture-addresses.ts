import type { Dispatcher } from 'undici';
import { type Deadline, DeadlinePassed } from '../execution/deadline.ts';
import { guardedLookup, type Lookup, publicLookup, refusedForAnyone, refusedHost } from '../model/address-guard.ts';
import { shorten } from '../protocol/json-reader.ts';
import { badRequest, RequestError } from '../protocol/request-error.ts';
import type { Transfer } from './transfers.ts';

export interface PictureAddressOptions {
  /** What pictures may be fetched from: hosts, `*.example.com` for all below one, `*` for all that everybody can reach. Empty: nothing. */
  readonly hosts: readonly string[];
  /** Of a body with the pictures in the place of their addresses. */
  readonly maxBodyBytes: number;
  /** Requests that may wait for pictures at once. */
  readonly mostUnderWay: number;
}

/** A body that has addresses in it is read on the thread that serves, so it has to be small. */
const mostBodyBytes = 2 ** 20;
const mostAtOnce = 8;
const maxRedirects = 3;
const connectMilliseconds = 5_000;
const stallMilliseconds = 10_000;

/** Puts pictures in the place of the addresses that a request names them by. */
export class PictureAddresses {
  readonly #options: PictureAddressOptions;
  #dispatcher: Promise<Dispatcher> | undefined;
  #underWay = 0;

  constructor(options: PictureAddressOptions) {
    this.#options = options;
  }

  /**
   * @param body JSON that has pictures in `input`
   * @param held takes part of the budget for what is fetched
   * @returns the same body where no picture in it is an address that is fetched from
   * @throws RequestError 400 that names the field and why there is no picture, 503 when there is no room, 504 when it takes too long
   */
  async fetched(body: Buffer, deadline: Deadline, held: Transfer, signal: AbortSignal): Promise<Buffer> {
    // Of larger ones, what reads them says that nothing is fetched: they are not read on the thread that serves.
    if (this.#options.hosts.length === 0 || body.length > mostBodyBytes) return body;
    const text = body.toString();
    const addresses = addressToken.test(text) ? addressesOf(text) : [];
    if (addresses.length === 0) return body;
    if (this.#underWay >= this.#options.mostUnderWay)
      throw new RequestError(503, 'the server is full: too many requests wait for their pictures, try again');
    this.#underWay += 1;
    const late = AbortSignal.timeout(Math.max(0, Math.ceil(deadline.at - performance.now())));
    const failed = new AbortController();
    const context = { held, signal: AbortSignal.any([signal, late, failed.signal]), room: this.#room(body) };
    try {
      const pictures = new Map<string, string>();
      const waiting = addresses.values();
      const next = async () => {
        for (const address of waiting)
          pictures.set(address.url, (await this.#fetch(address, context)).toString('base64'));
      };
      await Promise.all(Array.from({ length: mostAtOnce }, next));
      return Buffer.from(withPictures(text, pictures));
    } catch (error) {
      if (late.aborted) throw new DeadlinePassed(deadline);
      throw error;
    } finally {
      failed.abort();
      this.#underWay -= 1;
    }
  }

  /** In Base64, three bytes take four. */
  #room(body: Buffer): Room {
    return { bytes: Math.floor(((this.#options.maxBodyBytes - body.length) * 3) / 4) };
  }

  async #fetch({ field, url: text }: Address, context: FetchContext): Promise<Buffer> {
    const url = new URL(text);
    try {
      const answer = await this.#answer(url, context);
      return await bodyOf(answer, context);
    } catch (error) {
      if (error instanceof RequestError) throw error;
      // Which names there are in the network of the pod is nothing for everybody.
      const isTold = error instanceof NoPicture || this.#isNamed(url.hostname);
      const reason = isTold ? causeOf(error) : 'its server cannot be reached, or is none that everybody can reach';
      throw badRequest(`'${field}': there is no picture at ${shorten(text)}: ${reason}`);
    }
  }

  async #answer(start: URL, { signal }: FetchContext): Promise<Dispatcher.ResponseData> {
    let url = start;
    const { request } = await import('undici');
    for (let redirects = 0; redirects <= maxRedirects; redirects++) {
      this.#allow(url);
      const dispatcher = await this.#connections();
      const answer = await request(url, { dispatcher, signal, headers: { accept: 'image/*' } });
      const { location } = answer.headers;
      if (answer.statusCode === 200) return answer;
      answer.body.on('error', () => undefined).destroy();
      if (answer.statusCode < 300 || answer.statusCode >= 400 || typeof location !== 'string')
        throw new NoPicture(`its server answered ${answer.statusCode}`);
      if (!URL.canParse(location, url.href)) throw new NoPicture('its server redirects to what is no URL');
      url = new URL(location, url);
    }
    throw new NoPicture(`it is behind more than ${maxRedirects} redirects`);
  }

  #allow(url: URL): void {
    const { protocol, hostname } = url;
    if (protocol !== 'https:' && protocol !== 'http:') throw new NoPicture(`nothing is fetched over ${protocol}//`);
    if (url.username !== '' || url.password !== '') throw new NoPicture('an address with a user is not fetched from');
    const isNamed = this.#isNamed(hostname);
    if (!isNamed && !this.#options.hosts.includes('*'))
      throw new NoPicture(`pictures are fetched from ${this.#options.hosts.join(', ')} alone, not from ${hostname}`);
    const refusal = isNamed ? refusedHost(url) : refusedHost(url, refusedForAnyone);
    if (refusal !== undefined) throw new NoPicture(`it is refused: ${refusal}`);
  }

  #isNamed(hostname: string): boolean {
    return this.#options.hosts.some((host) =>
      host.startsWith('*.') ? hostname.endsWith(host.slice(1)) : host === hostname,
    );
  }

  #connections(): Promise<Dispatcher> {
    // A pod that is asked for no addresses does without it, and without its memory.
    this.#dispatcher ??= import('undici').then(({ Agent }) => {
      const lookup: Lookup = (hostname, options, callback) =>
        (this.#isNamed(hostname) ? guardedLookup : publicLookup)(hostname, options, callback);
      return new Agent({
        connect: { lookup, timeout: connectMilliseconds },
        headersTimeout: stallMilliseconds,
        bodyTimeout: stallMilliseconds,
      });
    });
    return this.#dispatcher;
  }
}

/** The message says why. */
class NoPicture extends Error {}

/** How much may still be fetched for one request. */
interface Room {
  bytes: number;
}

interface FetchContext {
  readonly held: Transfer;
  readonly signal: AbortSignal;
  readonly room: Room;
}

async function bodyOf({ body }: Dispatcher.ResponseData, { held, room }: FetchContext): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) {
    room.bytes -= chunk.length;
    if (room.bytes < 0) throw new NoPicture('with it the request is larger than this server accepts');
    // As it is, and in Base64.
    if (!held.reserve(Math.ceil((chunk.length * 7) / 3)))
      throw new RequestError(503, 'the server is full: too many bytes are in flight, try again');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}

interface Address {
  readonly field: string;
  readonly url: string;
}

/** More of them are refused where the request is read. */
const mostAddresses = 64;

/** A string of JSON that is an address. */
const addressToken = /"https?:(?:[^"\\]|\\.)*"/i;

/** Everything else stays as it was sent: what is wrong with it is told by what reads it. */
function withPictures(text: string, pictures: ReadonlyMap<string, string>): string {
  return text.replace(new RegExp(addressToken, 'gi'), (token) => {
    const picture = pictures.get(String(parsed(token)));
    return picture === undefined ? token : JSON.stringify(picture);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The addresses of pictures in `input`, each once. */
function addressesOf(text: string): readonly Address[] {
  const request = parsed(text);
  const input: unknown = isRecord(request) ? request['input'] : undefined;
  const list: readonly unknown[] = Array.isArray(input) ? input : [input];
  if (list.length > mostAddresses) return [];
  const found = list.flatMap((entry, index) => addressIn(entry, Array.isArray(input) ? `input[${index}]` : 'input'));
  return Array.from(new Map(found.map((address) => [address.url, address])).values());
}

function addressIn(entry: unknown, field: string): readonly Address[] {
  if (isRecord(entry)) return addressOf(entry['image'], `${field}.image`);
  return addressOf(entry, field);
}

function addressOf(value: unknown, field: string): readonly Address[] {
  if (typeof value !== 'string' || !/^https?:/i.test(value) || !URL.canParse(value)) return [];
  return [{ field, url: value }];
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

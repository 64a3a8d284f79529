import { type LookupAddress, type LookupOptions, lookup } from 'node:dns';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** Addresses of cloud metadata services that are in no link-local range. */
const metadataAddresses = new Set(['fd00:ec2::254', '100.100.100.200', '192.0.0.192', '168.63.129.16', 'fd20:ce::254']);

/** Says why a model must not be fetched from an address: it is link-local or a cloud's metadata service. */
export function refusedAddress(address: string): string | undefined {
  const bare = address.replace(/^\[|\]$/g, '');
  if (!ipaddr.isValid(bare)) return undefined;
  const parsed = withinTranslation(ipaddr.process(bare));
  if (parsed.range() === 'linkLocal') return `${bare} is a link-local address`;
  if (parsed.range() === 'unspecified') return `${bare} is no address of a server`;
  const isMetadata = metadataAddresses.has(parsed.toString()) || parsed.toString().startsWith('fd00:ec2:');
  return isMetadata ? `${bare} is a cloud's metadata service` : undefined;
}

/** Says why nothing is fetched from an address for whoever asks: it is none that everybody can reach. */
export function refusedForAnyone(address: string): string | undefined {
  const refusal = refusedAddress(address);
  if (refusal !== undefined) return refusal;
  const bare = address.replace(/^\[|\]$/g, '');
  const isPublic = ipaddr.isValid(bare) && withinTranslation(ipaddr.process(bare)).range() === 'unicast';
  return isPublic ? undefined : `${bare} is no public address`;
}

const isatap: ReadonlySet<string> = new Set(['0.0.94.254', '2.0.94.254']);

/** The IPv4 address that a translator reaches by this one (RFC 6052, 6to4); others as they are. */
function withinTranslation(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv4 | ipaddr.IPv6 {
  const bytes = address.toByteArray();
  // ISATAP (RFC 5214, section 6.1): in whatever network.
  if (bytes.length === 16 && isatap.has(bytes.slice(8, 12).join('.'))) return new ipaddr.IPv4(bytes.slice(12));
  switch (address.range()) {
    case 'loopback':
    case 'unspecified':
      return address;
    case 'rfc6052':
      return new ipaddr.IPv4(bytes.slice(12));
    case 'rfc6145':
      return new ipaddr.IPv4(bytes.slice(12));
    case '6to4':
      return new ipaddr.IPv4(bytes.slice(2, 6));
    case 'teredo':
      return new ipaddr.IPv4(bytes.slice(12).map((byte) => byte ^ 0xff));
    default:
      // IPv4-compatible addresses, which nothing uses any more.
      return bytes.length === 16 && bytes.slice(0, 12).every((byte) => byte === 0)
        ? new ipaddr.IPv4(bytes.slice(12))
        : address;
  }
}

type LookupCallback = (error: Error | null, address: string | LookupAddress[], family?: number) => void;

export type Lookup = (hostname: string, options: LookupOptions, callback: LookupCallback) => void;

/** `dns.lookup` that fails for a name that resolves to what no model is fetched from. */
export const guardedLookup: Lookup = (hostname, options, callback) =>
  lookupRefusing(refusedAddress, hostname, options, callback);

/** `dns.lookup` that fails for a name that resolves to what nothing is fetched from for whoever asks. */
export const publicLookup: Lookup = (hostname, options, callback) =>
  lookupRefusing(refusedForAnyone, hostname, options, callback);

/** Checked where the connection is made, so a name cannot change in between. */
function lookupRefusing(
  refused: (address: string) => string | undefined,
  hostname: string,
  options: LookupOptions,
  callback: LookupCallback,
): void {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error !== null) return callback(error, []);
    const refusal = addresses.map(({ address }) => refused(address)).find((reason) => reason !== undefined);
    if (refusal !== undefined) return callback(new Error(`${hostname} is refused: ${refusal}`), []);
    if (options.all === true) return callback(null, addresses);
    const [first] = addresses;
    return first === undefined
      ? callback(new Error(`${hostname} has no address`), [])
      : callback(null, first.address, first.family);
  });
}

/** Says why the host of a URL is refused when it is an address itself, for which no look-up is made. */
export function refusedHost(url: URL, refused = refusedAddress): string | undefined {
  const bare = url.hostname.replace(/^\[|\]$/g, '');
  return isIP(bare) === 0 ? undefined : refused(bare);
}

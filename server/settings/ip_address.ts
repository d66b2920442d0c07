/**
 * IP addresses as bytes: text to bytes and back, and sets of networks. No names, no zones, no I/O.
 *
 * Invariant: an address has one form. IPv4 in its IPv6 dress (::ffff:a.b.c.d) is IPv4, and text is
 * canonical (RFC 5952), so that limits per address and comparisons see one client as one.
 */

/** 4 or 16 bytes, network order. */
export type AddressBytes = Uint8Array;

/** Address of a peer. */
export interface Endpoint {
  /** Canonical text of the IP address. */
  readonly hostname: string;
  readonly port: number;
}

const V4_MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
/** Decimal without leading zeros: some parsers take 010 for 8. */
const DECIMAL = /^(0|[1-9]\d{0,4})$/;
const HEX_GROUP = /^[0-9a-fA-F]{1,4}$/;

/** Bytes of an address, 4 for IPv4 in either form; undefined when it is none. */
export function parseAddress(text: string): AddressBytes | undefined {
  return text.includes(":") ? unmap(parseV6(text)) : parseV4(text);
}

/** Canonical text of 4 or 16 bytes. */
export function formatAddress(address: AddressBytes): string {
  const bytes = unmap(address) ?? address;
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, i) => at(bytes, 2 * i) * 256 + at(bytes, 2 * i + 1));
  const [start, length] = longestZeroRun(groups);
  const hex = groups.map((group) => group.toString(16));
  if (length < 2) return hex.join(":"); // RFC 5952, 4.2.2: one group of zeros is not shortened
  return `${hex.slice(0, start).join(":")}::${hex.slice(start + length).join(":")}`;
}

/**
 * What limits per address count: an IPv4 address, or the /64 of an IPv6 address, all of whose 2^64
 * addresses one household has. Loopback is one host. Text that is no address is returned as it is.
 */
export function networkOf(text: string): string {
  const bytes = parseAddress(text);
  if (bytes === undefined) return text;
  if (bytes.length === 16 && !isLoopback(bytes)) return formatAddress(bytes.slice().fill(0, 8));
  return formatAddress(bytes);
}

/** The /56 of an IPv6 address, which one customer is often given whole; undefined for IPv4. */
export function wideNetworkOf(text: string): string | undefined {
  const bytes = parseAddress(text);
  if (bytes === undefined || bytes.length !== 16 || isLoopback(bytes)) return undefined;
  return `${formatAddress(bytes.slice().fill(0, 7))}/56`;
}

function isLoopback(v6: AddressBytes): boolean {
  return v6.every((byte, i) => byte === (i === 15 ? 1 : 0));
}

/** A set of networks, such as the load balancers that are believed. */
export class NetworkSet {
  readonly #networks: { readonly prefix: AddressBytes; readonly bits: number }[] = [];

  /**
   * @param list Networks as `address/bits` or single addresses, separated by commas and spaces.
   * @returns The set, or a sentence that says which entry is wrong.
   */
  static parse(list: string): NetworkSet | string {
    const set = new NetworkSet();
    for (const entry of list.split(/[\s,]+/).filter((part) => part !== "")) {
      const [address = "", width, ...more] = entry.split("/");
      const prefix = parseAddress(address);
      if (prefix === undefined || more.length > 0) return `"${entry}" is no IP address or network`;
      // Bits of an IPv4 address in IPv6 dress are counted from the start of the dress.
      const offset = prefix.length === 4 && address.includes(":") ? 96 : 0;
      const most = prefix.length * 8 + offset;
      const bits = width === undefined ? most : DECIMAL.test(width) ? Number(width) : -1;
      if (bits < offset || bits > most) {
        return `"${entry}" needs a prefix length from ${offset} to ${most}`;
      }
      set.#networks.push({ prefix, bits: bits - offset });
    }
    return set;
  }

  /** The empty set. */
  static none(): NetworkSet {
    return new NetworkSet();
  }

  /** No network at all: nobody is in it. */
  get isEmpty(): boolean {
    return this.#networks.length === 0;
  }

  /** Whether the address, as a socket tells it (a zone after `%` does not count), is in the set. */
  has(address: string): boolean {
    const bytes = parseAddress(address.split("%", 1)[0] ?? "");
    return bytes !== undefined &&
      this.#networks.some(({ prefix, bits }) => startsWith(bytes, prefix, bits));
  }
}

function startsWith(address: AddressBytes, prefix: AddressBytes, bits: number): boolean {
  if (address.length !== prefix.length) return false;
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (address[i] !== prefix[i]) return false;
  const mask = 0xff00 >> (bits & 7) & 0xff;
  return mask === 0 || (at(address, whole) & mask) === (at(prefix, whole) & mask);
}

function parseV4(text: string): AddressBytes | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => DECIMAL.test(part) && Number(part) < 256)) {
    return undefined;
  }
  return Uint8Array.from(parts, Number);
}

function parseV6(text: string): AddressBytes | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half, i) => parseGroups(half, i === halves.length - 1));
  if (head === undefined) return undefined;
  if (halves.length === 1) return head.length === 16 ? Uint8Array.from(head) : undefined;
  if (tail === undefined || head.length + tail.length > 14) return undefined; // "::" is ≥ 1 group
  const bytes = new Uint8Array(16);
  bytes.set(head);
  bytes.set(tail, 16 - tail.length);
  return bytes;
}

/** Bytes of `a:b:c`, and at the end of the text `a:b:1.2.3.4`. */
function parseGroups(text: string, isLast: boolean): number[] | undefined {
  if (text === "") return [];
  const groups = text.split(":");
  const bytes: number[] = [];
  for (const [i, group] of groups.entries()) {
    if (HEX_GROUP.test(group)) {
      const value = parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
    } else {
      const v4 = isLast && i === groups.length - 1 ? parseV4(group) : undefined;
      if (v4 === undefined) return undefined;
      bytes.push(...v4);
    }
  }
  return bytes.length > 16 ? undefined : bytes;
}

function unmap(address: AddressBytes | undefined): AddressBytes | undefined {
  if (address?.length !== 16 || !V4_MAPPED.every((byte, i) => address[i] === byte)) return address;
  return address.slice(12);
}

/** Start and length of the first longest run of zero groups. */
function longestZeroRun(groups: readonly number[]): [start: number, length: number] {
  let best: [number, number] = [0, 0];
  for (let start = 0; start < groups.length; start++) {
    let end = start;
    while (groups[end] === 0) end++;
    if (end - start > best[1]) best = [start, end - start];
  }
  return best;
}

/** A byte that is there: callers stay within the length. */
function at(bytes: Uint8Array, i: number): number {
  return bytes[i] ?? 0;
}

/**
 * The PROXY protocol's header, versions 1 and 2: what a load balancer writes before a client's
 * first byte to tell the client's address. Bytes in, a verdict out: no sockets, no trust decision
 * (see NetworkSet in ip_address.ts).
 *
 * Invariant: the verdict is the same however the stream is cut, at most MAX_V2_BYTES are held, and
 * a stream without a header is refused at its first byte.
 * Source: www.haproxy.org/download/3.0/doc/proxy-protocol.txt, sections 2.1 and 2.2.
 */

import { type Endpoint, formatAddress, parseAddress } from "../settings/ip_address.ts";

/** Longest version 1 header, CRLF included. Source: section 2.1. */
export const MAX_V1_BYTES = 107;
/** Version 2: signature, version, family, length. */
const V2_FIXED_BYTES = 16;
/**
 * Longest version 2 header taken. The format allows 64 KiB of extensions (TLV); balancers send
 * addresses and at most some hundred bytes, and an unknown peer should not make us hold more.
 */
export const MAX_V2_BYTES = V2_FIXED_BYTES + 1024;

/** What is known after the bytes so far. */
export type ProxyHeader =
  /** The header is not complete. */
  | { readonly status: "partial" }
  | {
    readonly status: "done";
    /** Undefined when the balancer speaks for itself (LOCAL) or does not know (UNKNOWN). */
    readonly source: Endpoint | undefined;
    /** The client's own bytes that came in the same chunk; a view of that chunk. */
    readonly rest: Uint8Array;
  }
  /** No such header: the connection must be closed. `reason` is for the log. */
  | { readonly status: "malformed"; readonly reason: string };

/** A verdict without the bytes after it. */
type Verdict =
  | { readonly status: "done"; readonly source: Endpoint | undefined }
  | { readonly status: "malformed"; readonly reason: string };

const V1_START = new TextEncoder().encode("PROXY ");
const V2_SIGNATURE = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 84, 10);
const CR = 0x0d;
const LF = 0x0a;
const PORT = /^(0|[1-9]\d{0,4})$/;
const COMMAND_LOCAL = 0;
const COMMAND_PROXY = 1;
/** Address and port pairs of the families that carry IP, in bytes. */
const ADDRESS_BYTES: Readonly<Record<number, number>> = { 1: 12, 2: 36 };
const TRANSPORT_STREAM = 1;

const malformed = (reason: string): Verdict => ({ status: "malformed", reason });

/** Whether the first bytes of a connection are those of a header, of either version. */
export function beginsLikeProxyHeader(bytes: Uint8Array): boolean {
  return [V1_START, V2_SIGNATURE].some((start) =>
    bytes.length >= start.length && start.every((byte, at) => bytes[at] === byte)
  );
}

/** Reads the header of one connection. */
export class ProxyHeaderParser {
  #held = new Uint8Array(MAX_V2_BYTES);
  #length = 0;
  #needed = V2_FIXED_BYTES; // grows once the fixed part of version 2 is known
  #over = false;

  /**
   * Takes the next bytes of the connection.
   *
   * @param chunk As read, cut anywhere; borrowed, but `rest` is a view of it.
   * @throws {Error} After a verdict: the bytes belong to the client's stream.
   */
  feed(chunk: Uint8Array): ProxyHeader {
    if (this.#over) throw new Error("the PROXY header was complete before");
    for (const [i, byte] of chunk.entries()) {
      this.#held[this.#length++] = byte;
      const verdict = this.#held[0] === V1_START[0] ? this.#stepV1(byte) : this.#stepV2(byte);
      if (verdict === undefined) continue;
      this.#over = true;
      this.#held = new Uint8Array(0);
      return verdict.status === "done" ? { ...verdict, rest: chunk.subarray(i + 1) } : verdict;
    }
    return { status: "partial" };
  }

  #stepV1(byte: number): Verdict | undefined {
    const length = this.#length;
    if (length <= V1_START.length) {
      return byte === V1_START[length - 1] ? undefined : malformed("no PROXY header");
    }
    const afterCr = this.#held[length - 2] === CR;
    if (byte === LF && afterCr) return parseV1(this.#held.subarray(0, length - 2));
    if (afterCr || byte !== CR && (byte < 0x20 || byte > 0x7e)) {
      return malformed("PROXY v1: a line of printable characters and CRLF was expected");
    }
    if (length === MAX_V1_BYTES) return malformed("PROXY v1: no CRLF within 107 bytes");
    return undefined;
  }

  #stepV2(byte: number): Verdict | undefined {
    const length = this.#length;
    if (length <= V2_SIGNATURE.length) {
      return byte === V2_SIGNATURE[length - 1] ? undefined : malformed("no PROXY header");
    }
    if (length === V2_FIXED_BYTES) {
      const [version, , high, low] = this.#held.subarray(V2_SIGNATURE.length);
      if ((version ?? 0) >> 4 !== 2) return malformed("PROXY v2: unknown version");
      this.#needed = V2_FIXED_BYTES + (high ?? 0) * 256 + (low ?? 0);
      if (this.#needed > MAX_V2_BYTES) return malformed("PROXY v2: header too long");
    }
    return length === this.#needed ? parseV2(this.#held.subarray(0, length)) : undefined;
  }
}

/** `PROXY TCP4 source destination sourcePort destinationPort`, without its CRLF. */
function parseV1(line: Uint8Array): Verdict {
  const [, family, source = "", destination = "", sourcePort = "", destinationPort = "", ...more] =
    new TextDecoder().decode(line).split(" ");
  if (family === "UNKNOWN") return { status: "done", source: undefined }; // the rest is ignored
  const isV6 = family === "TCP6";
  if (!isV6 && family !== "TCP4") return malformed("PROXY v1: unknown family");
  const address = parseAddress(source);
  if (
    address === undefined || parseAddress(destination) === undefined ||
    source.includes(":") !== isV6 || destination.includes(":") !== isV6
  ) {
    return malformed("PROXY v1: wrong address");
  }
  if (!isPort(sourcePort) || !isPort(destinationPort) || more.length > 0) {
    return malformed("PROXY v1: wrong port");
  }
  return {
    status: "done",
    source: { hostname: formatAddress(address), port: Number(sourcePort) },
  };
}

/** A complete version 2 header; extensions after the addresses are not read. */
function parseV2(header: Uint8Array): Verdict {
  const command = (header[12] ?? 0) & 0x0f;
  const family = (header[13] ?? 0) >> 4;
  const transport = (header[13] ?? 0) & 0x0f;
  if (command === COMMAND_LOCAL) return { status: "done", source: undefined };
  if (command !== COMMAND_PROXY) return malformed("PROXY v2: unknown command");
  if (family > 3 || transport > 2) return malformed("PROXY v2: unknown family or transport");
  const pairBytes = ADDRESS_BYTES[family];
  // Unspecified, a UNIX socket or datagrams: valid, and no address that means anything here.
  if (pairBytes === undefined || transport !== TRANSPORT_STREAM) {
    return { status: "done", source: undefined };
  }
  if (header.length < V2_FIXED_BYTES + pairBytes) return malformed("PROXY v2: addresses cut short");
  const pair = header.subarray(V2_FIXED_BYTES, V2_FIXED_BYTES + pairBytes);
  const view = new DataView(pair.buffer, pair.byteOffset, pair.byteLength);
  return {
    status: "done",
    source: {
      hostname: formatAddress(pair.slice(0, (pairBytes - 4) / 2)),
      port: view.getUint16(pairBytes - 4),
    },
  };
}

function isPort(text: string): boolean {
  return PORT.test(text) && Number(text) <= 0xffff;
}

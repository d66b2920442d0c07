/**
 * The first bytes of a socket that a load balancer opened: reads the PROXY header, within a time.
 * Who may send one is the caller's decision; the format is proxy_protocol.ts.
 */

import type { Endpoint } from "../settings/ip_address.ts";
import { ProxyHeaderParser } from "./proxy_protocol.ts";

/** Longest wait for the whole header: a balancer sends it together with the connection. */
export const PROXY_HEADER_MS = 5_000;
/** Holds the header and the client's first request in one read. */
const READ_BYTES = 512;

/** What the header said, or why there is none. */
export type ProxiedSocket =
  | {
    readonly ok: true;
    /** The client's address; undefined when the balancer does not tell. */
    readonly source: Endpoint | undefined;
    /** What the client sent right after. */
    readonly rest: Uint8Array;
  }
  /** To be closed. `reason` is for the log. */
  | { readonly ok: false; readonly reason: string };

/** Reads the header of one socket. Never rejects, never closes it but when the time is over. */
export async function readProxyHeader(
  socket: Pick<Deno.Conn, "read" | "close">,
  limitMs = PROXY_HEADER_MS,
): Promise<ProxiedSocket> {
  let reason = "closed before its PROXY header was complete";
  const timer = setTimeout(() => {
    reason = `no PROXY header within ${limitMs} ms`;
    socket.close();
  }, limitMs);
  const parser = new ProxyHeaderParser();
  const buffer = new Uint8Array(READ_BYTES);
  try {
    for (;;) {
      const count = await socket.read(buffer);
      if (count === null) return { ok: false, reason };
      const header = parser.feed(buffer.subarray(0, count));
      if (header.status === "done") return { ok: true, source: header.source, rest: header.rest };
      if (header.status === "malformed") return { ok: false, reason: header.reason };
    }
  } catch {
    return { ok: false, reason }; // the socket failed, or was closed: by the timer or by its owner
  } finally {
    clearTimeout(timer);
  }
}

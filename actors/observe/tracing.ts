/**
 * One trace from socket to socket without a byte on the wire: a message's `mid` is 128 bits, as a
 * trace's id is, so every thread and node that has the message knows its trace, and whether it is
 * among those that are traced.
 */

import type { Mid } from "../ports.ts";

/** What is said of one step of a message. */
export type SpanAttributes = Readonly<Record<string, string | number>>;

/** Takes spans; the adapter gives them to OpenTelemetry. */
export interface TracePort {
  /** @param traceId 32 hexadecimal digits. @param fromMs Epoch ms, as `toMs`. */
  span(traceId: string, name: string, fromMs: number, toMs: number, about: SpanAttributes): void;
}

/** Characters of a mid that tell messages of one clock apart: time and counter. */
const OWN_CHARS = 15;
const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TRACE_BITS = 128n;

/** Spans of one message in so many. */
export class MessageTracer {
  readonly #port: TracePort;
  readonly #oneIn: number;

  /** @param oneIn At least 1: every message. */
  constructor(port: TracePort, oneIn: number) {
    this.#port = port;
    this.#oneIn = oneIn;
  }

  /** Whether a message is among those that are traced. */
  traces(mid: Mid): boolean {
    return isTraced(mid, this.#oneIn);
  }

  /** Notes a step of a message, if that is traced. */
  step(mid: Mid, name: string, fromMs: number, toMs: number, about: SpanAttributes): void {
    if (!this.traces(mid)) return;
    this.#port.span(traceIdOf(mid), name, fromMs, Math.max(fromMs, toMs), { mid, ...about });
  }
}

/** The same answer on every thread and node. */
export function isTraced(mid: Mid, oneIn: number): boolean {
  let hash = 0x811c9dc5; // FNV-1a
  for (let i = 0; i < OWN_CHARS; i++) {
    hash = Math.imul(hash ^ mid.charCodeAt(i), 0x01000193);
  }
  return (hash >>> 0) % oneIn === 0;
}

/** A ULID as the number it is, in hexadecimal. */
export function traceIdOf(mid: Mid): string {
  let value = 0n;
  for (const character of mid) {
    value = value * 32n + BigInt(Math.max(0, ALPHABET.indexOf(character)));
  }
  return BigInt.asUintN(Number(TRACE_BITS), value).toString(16).padStart(32, "0");
}

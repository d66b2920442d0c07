/**
 * What nodes say to each other through Redis, as bytes: `<kind><sender>\n<text>` in UTF-8.
 * No I/O. Envelopes' text is opaque here and arrives exactly as it was given.
 */

import type { Buffer } from "node:buffer";
import type { NodeId } from "../../ports.ts";

/** First byte of a message. */
export const KIND = {
  /** An envelope. */
  ENVELOPE: 0x65, // e
  /** An envelope as a JSON string: its text has lone surrogates, which UTF-8 cannot carry. */
  QUOTED: 0x71, // q
  /** "I am alive"; the text is the beat's number, 0 in an answer. */
  BEAT: 0x62, // b
  /** A first beat: whoever hears it answers with a beat of its own. */
  HELLO: 0x68, // h
  /** "I leave." */
  BYE: 0x78, // x
} as const;

/** Who says what; `at` is where the text begins. */
export interface Header {
  readonly kind: number;
  readonly from: NodeId;
  readonly at: number;
}

/** A message of this kind. @param from Without newline. */
export function say(kind: number, from: NodeId, text: string): string {
  return `${String.fromCharCode(kind)}${from}\n${text}`;
}

/** An envelope, quoted if it must be. */
export function sayEnvelope(from: NodeId, text: string): string {
  return text.isWellFormed()
    ? say(KIND.ENVELOPE, from, text)
    : say(KIND.QUOTED, from, JSON.stringify(text));
}

/** Undefined when these bytes are no message of ours. */
export function readHeader(payload: Buffer): Header | undefined {
  const end = payload.indexOf(0x0a);
  const kind = payload[0];
  if (kind === undefined || end < 2) return undefined;
  return { kind, from: payload.toString("latin1", 1, end), at: end + 1 };
}

/** The text of an envelope; undefined when the message is no envelope. */
export function readEnvelope(header: Header, payload: Buffer): string | undefined {
  if (header.kind === KIND.ENVELOPE) return payload.toString("utf8", header.at);
  if (header.kind !== KIND.QUOTED) return undefined;
  try {
    const text: unknown = JSON.parse(payload.toString("utf8", header.at));
    return typeof text === "string" ? text : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined; // not from a node
    throw error;
  }
}

/** The number of a beat. */
export function readNumber(header: Header, payload: Buffer): number {
  return Number(payload.toString("latin1", header.at));
}

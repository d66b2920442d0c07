/**
 * Random byte streams of clients that mean well, badly or nothing at all, and what a splitter that
 * is written down as simply as possible makes of them. Everything follows from a seed.
 */

import { MSGID } from "@chat/wire/messages.ts";
import { MAX_FRAME_BYTES } from "@chat/wire/limits.ts";

/** Numbers from a seed: mulberry32. */
export class Rng {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to, not including, `end`. */
  below(end: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000) * end);
  }

  chance(probability: number): boolean {
    return this.below(1_000_000) < probability * 1_000_000;
  }

  pick<T>(list: readonly [T, ...T[]]): T {
    return list[this.below(list.length)] ?? list[0];
  }
}

/** Who sends a stream. */
export interface Sender {
  readonly v: 1 | 2;
  readonly loggedIn: boolean;
}

/** Whom streams may write to. */
export interface Targets {
  readonly users: readonly [number, ...number[]];
  readonly group: number;
  /** Reads all it is sent. */
  readonly sink: number;
}

/** A frame that stands in a stream as it was meant, and what has to come of it. */
export interface Item {
  readonly start: number;
  readonly end: number;
  /** Its `req`. */
  readonly label: string;
  /** Answers that carry the label. */
  readonly answers: 0 | 1;
  /** A text that the sink has to get once; "" for none. */
  readonly toSink: string;
}

/** A stream, and what is known of it. */
export interface Stream {
  readonly bytes: Uint8Array;
  /** The untouched frames; all other bytes may be anything. */
  readonly items: readonly Item[];
}

const encoder = new TextEncoder();
const SEPARATORS = ["", "", "", "\n", "\0", " ", "\r\n\t", "\0\0\0"] as const;
const STRINGS = [
  "",
  "x",
  "}{",
  '\\"',
  "漢字🙂",
  "\u0000\u0001",
  "\ud800",
  "\udfff\ud800",
  "__proto__",
  "x".repeat(300),
] as const;

/** Some JSON value, mostly small. */
function value(rng: Rng, depth = 3): unknown {
  switch (rng.below(depth === 0 ? 7 : 9)) {
    case 0:
      return null;
    case 1:
      return rng.chance(0.5);
    case 2:
      return rng.below(1_000) - 500;
    case 3:
      return rng.pick([0.5, -0, 1e308, 2 ** 53, -1e-9]);
    case 4:
    case 5:
      return rng.pick(STRINGS);
    case 6:
      return [];
    case 7:
      return Array.from({ length: rng.below(4) }, () => value(rng, depth - 1));
    default:
      return Object.fromEntries(
        Array.from({ length: rng.below(4) }, () => [rng.pick(STRINGS), value(rng, depth - 1)]),
      );
  }
}

interface Draft {
  text: string;
  answers: 0 | 1;
  toSink: string;
}

/** A frame that is complete, whatever it says, and the answers it has to get. */
function request(rng: Rng, from: Sender, to: Targets, label: string): Draft {
  const draft = (message: object, answers: boolean, toSink = ""): Draft => ({
    text: JSON.stringify({ ...message, req: label }),
    answers: answers ? 1 : 0,
    toSink,
  });
  const refused = !from.loggedIn; // every request that needs a login
  switch (rng.below(12)) {
    case 0:
    case 1: {
      const msg = `${label} ${rng.pick(STRINGS).toWellFormed()}`;
      const chat = { msgid: MSGID.ONE_CHAT, to: to.sink, toid: to.sink, cid: label, msg, id: 7 };
      return draft(chat, refused || from.v === 2, refused ? "" : msg);
    }
    case 2:
    case 3: {
      // v1 is told after the commit, and without a label, that a mailbox is full or a group closed.
      if (from.loggedIn && from.v === 1) return draft({ msgid: MSGID.PING }, true);
      const toid = rng.pick(to.users);
      const one = { msgid: MSGID.ONE_CHAT, toid, cid: label, msg: "to one who may be away" };
      const group = { msgid: MSGID.GROUP_CHAT, groupid: to.group, cid: label, msg: "no member" };
      return draft(rng.chance(0.5) ? one : group, true);
    }
    case 4:
      return draft({ msgid: MSGID.HISTORY, userid: to.sink, limit: 1 + rng.below(3) }, true);
    case 5:
      return draft(
        { msgid: MSGID.RECV_ACK, mids: Array(rng.below(4)).fill("0123456789ABCDEFGHJKMNPQRS") },
        refused || from.v === 1,
      );
    case 6:
      return draft({ msgid: MSGID.PONG }, false);
    case 7:
      return draft({ msgid: rng.pick([0, 2, 5, 11, 12, 21, 99, -1, 1.5, 2 ** 40]) }, true);
    case 8: // wrong types: every field but the label may be anything
      return draft(
        {
          msgid: rng.pick([MSGID.ONE_CHAT, MSGID.LOGIN, MSGID.REGISTER, MSGID.JOIN_GROUP]),
          toid: rng.pick([null, "1", -1, {}, [], 0.5]),
          to: {},
          msg: value(rng),
          id: "x",
          name: value(rng),
          password: [],
          groupid: "x",
        },
        true,
      );
    case 9: {
      const depth = rng.chance(0.02) ? rng.pick([1_000, 5_000]) : rng.pick([1, 10, 40]);
      const nested = `${'{"a":['.repeat(depth)}${"]}".repeat(depth)}`;
      return {
        text: `{"msgid":14,"x":${nested},"req":"${label}"}`,
        answers: 1,
        toSink: "",
      };
    }
    case 10:
      return draft({ msgid: MSGID.PING, x: value(rng), y: rng.pick(STRINGS) }, true);
    default:
      return draft({ msgid: MSGID.PING, __proto__: null, "": value(rng) }, true);
  }
}

/** Bytes that may be anything. */
function noise(rng: Rng, from: Sender, to: Targets): Uint8Array {
  const kind = rng.below(100);
  if (kind < 60) { // a request with some bytes changed, lost or doubled
    const bytes = [...encoder.encode(request(rng, from, to, `noise ${rng.below(1e9)}`).text)];
    for (let n = 1 + rng.below(4); n > 0 && bytes.length > 0; n--) {
      const at = rng.below(bytes.length);
      const change = rng.below(4);
      if (change === 0) bytes[at] = rng.below(256);
      else if (change === 1) bytes.splice(at, 1 + rng.below(8));
      else if (change === 2) bytes.splice(at, 0, rng.below(256));
      else bytes[at] = (bytes[at] ?? 0) ^ (1 << rng.below(8));
    }
    return Uint8Array.from(bytes);
  }
  if (kind < 75) return encoder.encode(JSON.stringify({ "": value(rng), msgid: value(rng) }));
  if (kind < 85) { // bytes that are no UTF-8, in an object
    const bad = rng.pick([[0xff], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xe2, 0x82], [0xf8, 1]]);
    return Uint8Array.from([...encoder.encode('{"msgid":14,"a":"'), ...bad, 0x22, 0x7d]);
  }
  if (kind < 90) return encoder.encode("{".repeat(rng.below(100)) + "}".repeat(rng.below(100)));
  if (kind < 97) return Uint8Array.from({ length: rng.below(20) }, () => rng.below(256));
  if (kind === 97 && rng.chance(0.3)) {
    return encoder.encode(`{"a":"${"x".repeat(MAX_FRAME_BYTES - rng.below(20))}"}`);
  }
  return encoder.encode(rng.pick(["[1]", "GET / HTTP/1.1\r\n\r\n", "}", '"', "{}x"]));
}

/** Stream number `index` of a seed. */
export function makeStream(rng: Rng, from: Sender, to: Targets, label: string): Stream {
  const parts: Uint8Array[] = [];
  const items: Item[] = [];
  let length = 0;
  const add = (bytes: Uint8Array) => {
    parts.push(bytes);
    length += bytes.length;
  };
  const count = 1 + rng.below(3);
  for (let n = 0; n < count; n++) {
    add(encoder.encode(rng.pick(SEPARATORS)));
    if (rng.chance(0.18)) {
      add(noise(rng, from, to));
      continue;
    }
    const name = `${label}.${n}`;
    const { text, answers, toSink } = request(rng, from, to, name);
    const bytes = encoder.encode(text);
    if (bytes.length > MAX_FRAME_BYTES) continue;
    items.push({ start: length, end: length + bytes.length, label: name, answers, toSink });
    add(bytes);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return { bytes, items };
}

/** A stream cut at random places, often into single bytes. */
export function cut(rng: Rng, bytes: Uint8Array): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  const most = rng.pick([1, 3, 20, 200, 5_000, 100_000]);
  for (let at = 0; at < bytes.length;) {
    // Single bytes of a long stream would only test patience.
    const size = bytes.length > 3_000 ? Math.max(200, most) : most;
    const end = Math.min(bytes.length, at + 1 + rng.below(size));
    chunks.push(bytes.subarray(at, end));
    at = end;
  }
  return chunks;
}

/** What there is to find in a stream. */
export interface Found {
  /** Start and end of each object before the error, if there is one. */
  readonly frames: readonly (readonly [number, number])[];
  /** The stream cannot be cut further. */
  readonly fatal: boolean;
  /** An object has begun and not ended. */
  readonly open: boolean;
}

/** Objects of a stream, byte by byte, with the rules as docs/protocol.md states them. */
export function reference(bytes: Uint8Array): Found {
  const frames: [number, number][] = [];
  let depth = 0;
  let quoted = false;
  let escaped = false;
  let start = 0;
  for (let i = 0; i < bytes.length; i++) {
    const c = bytes[i];
    if (depth === 0) {
      if (c === 0x7b) {
        depth = 1;
        start = i;
      } else if (c !== 0x20 && c !== 0x09 && c !== 0x0d && c !== 0x0a && c !== 0) {
        return { frames, fatal: true, open: false };
      }
    } else if (quoted) {
      if (escaped) escaped = false;
      else if (c === 0x5c) escaped = true;
      else if (c === 0x22) quoted = false;
    } else if (c === 0x22) quoted = true;
    else if (c === 0x7b) depth++;
    else if (c === 0x7d && --depth === 0) {
      if (i + 1 - start > MAX_FRAME_BYTES) return { frames, fatal: true, open: false };
      frames.push([start, i + 1]);
    }
  }
  const tooLong = depth > 0 && bytes.length - start > MAX_FRAME_BYTES;
  return { frames, fatal: tooLong, open: depth > 0 && !tooLong };
}

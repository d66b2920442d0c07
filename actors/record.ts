/**
 * A message as bytes: encoded once, where its session runs, and then handed on as they are, to the
 * store's thread and into its commit log; decoded when the message is filed.
 *
 * Layout, little endian: u32 bytes in all, u32 sender, u32 recipient or group, u16 whether it is a
 * group, u16 UTF-16 units of the cid, f64 ts (epoch ms), u32 units of the text; then, as UTF-8 and
 * without anything between them, the mid (26 characters), the cid, the text and `extra`.
 */

import type { GroupId, Message, Mid, UserId } from "./ports.ts";

const HEADER_BYTES = 28;
/** Characters of a mid. */
export const MID_UNITS = 26;
/** Bytes of a writer: it grows to the largest turn seen, up to KEEP_BYTES. */
const FIRST_BYTES = 16 * 1_024;
const KEEP_BYTES = 1_024 * 1_024;

const encoder = new TextEncoder();
// ignoreBOM: a text may begin with U+FEFF, and it belongs to the text.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Appends records to a block that grows. */
export class RecordWriter {
  #bytes = new Uint8Array(FIRST_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #used = 0;

  /** Adds a message. Its mid has 26 characters. */
  add({ mid, cid, from, toid, groupid, ts, msg, extra }: Message): void {
    const units = mid.length + cid.length + msg.length + extra.length;
    this.#reserve(HEADER_BYTES + 3 * units); // a unit is at most three bytes
    const at = this.#used;
    const text = at + HEADER_BYTES;
    const { written } = encoder.encodeInto(mid + cid + msg + extra, this.#bytes.subarray(text));
    const view = this.#view;
    view.setUint32(at, HEADER_BYTES + written, true);
    view.setUint32(at + 4, from, true);
    view.setUint32(at + 8, groupid === 0 ? toid : groupid, true);
    view.setUint16(at + 12, groupid === 0 ? 0 : 1, true);
    view.setUint16(at + 14, cid.length, true);
    view.setFloat64(at + 16, ts, true);
    view.setUint32(at + 24, msg.length, true);
    this.#used = text + written;
  }

  /** What was added, as a block of its own; after this the writer is empty. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = this.#bytes.slice(0, this.#used);
    this.#used = 0;
    if (this.#bytes.length > KEEP_BYTES) {
      this.#bytes = new Uint8Array(FIRST_BYTES);
      this.#view = new DataView(this.#bytes.buffer);
    }
    return taken;
  }

  /** Forgets what was added. */
  clear(): void {
    this.#used = 0;
  }

  #reserve(bytes: number): void {
    if (this.#used + bytes <= this.#bytes.length) return;
    let size = this.#bytes.length * 2;
    while (size < this.#used + bytes) size *= 2;
    const larger = new Uint8Array(size);
    larger.set(this.#bytes.subarray(0, this.#used));
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}

/** Messages as a worker hands them to the store: their bytes, and mids and cids as one text. */
export function packMessages(
  messages: readonly Message[],
): { readonly records: Uint8Array<ArrayBuffer>; readonly keys: string } {
  const writer = new RecordWriter();
  let keys = "";
  for (const message of messages) {
    writer.add(message);
    keys += message.mid + message.cid;
  }
  return { records: writer.take(), keys };
}

/** One message in a block; its text is decoded when somebody asks for it. */
export class RecordedMessage implements Message {
  readonly mid: Mid;
  readonly cid: string;
  readonly from: UserId;
  readonly ts: number;
  readonly toid: UserId;
  readonly groupid: GroupId;
  /** The block that it is in, and where. */
  readonly block: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly #msgUnits: number;
  /** Kept for whoever reads both: MySQL's adapter does. */
  #texts: [msg: string, extra: string] | undefined;

  /**
   * @param view Of `block`.
   * @param start Where the record begins.
   * @param mid As the record has it, and `cid` too: whoever has them at hand spares a decoding.
   */
  constructor(block: Uint8Array, view: DataView, start: number, mid: Mid, cid: string) {
    this.block = block;
    this.start = start;
    this.end = start + view.getUint32(start, true);
    this.from = view.getUint32(start + 4, true);
    const target = view.getUint32(start + 8, true);
    const isGroup = view.getUint16(start + 12, true) === 1;
    this.toid = isGroup ? 0 : target;
    this.groupid = isGroup ? target : 0;
    this.ts = view.getFloat64(start + 16, true);
    this.#msgUnits = view.getUint32(start + 24, true);
    this.mid = mid;
    this.cid = cid;
  }

  /** The user's row has it. */
  get name(): string {
    return "";
  }

  /** Not stored. */
  get prev(): Mid {
    return "";
  }

  get msg(): string {
    return (this.#texts ??= this.texts())[0];
  }

  get extra(): string {
    return (this.#texts ??= this.texts())[1];
  }

  /** `msg` and `extra`, decoded together and not kept: the message may wait for long. */
  texts(): [msg: string, extra: string] {
    const text = decoder.decode(this.block.subarray(this.start + HEADER_BYTES, this.end));
    const at = MID_UNITS + this.cid.length;
    const end = at + this.#msgUnits;
    return [text.slice(at, end), text.slice(end)];
  }
}

/**
 * Units of the cid of the record at `start`: with them its mid and cid can be taken from a text that
 * holds those of a whole block, one after the other.
 */
export function cidUnits(view: DataView, start: number): number {
  return view.getUint16(start + 14, true);
}

/** Every message of a block, read from its bytes alone. */
export function readBlock(block: Uint8Array): RecordedMessage[] {
  const view = viewOf(block);
  const found: RecordedMessage[] = [];
  for (let at = 0; at < block.length;) {
    const end = at + view.getUint32(at, true);
    if (end <= at || end > block.length) throw new RangeError("a record of a wrong length");
    const text = decoder.decode(block.subarray(at + HEADER_BYTES, end));
    const cidEnd = MID_UNITS + cidUnits(view, at);
    const [mid, cid] = [text.slice(0, MID_UNITS), text.slice(MID_UNITS, cidEnd)];
    found.push(new RecordedMessage(block, view, at, mid, cid));
    at = end;
  }
  return found;
}

/** A block as numbers. */
export function viewOf(block: Uint8Array): DataView {
  return new DataView(block.buffer, block.byteOffset, block.byteLength);
}

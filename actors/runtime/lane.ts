/**
 * What crosses between the main thread (sockets) and a session worker, one block per turn and
 * direction: the frames of all its connections. Plain data only.
 *
 * Rows are flat in Float64Arrays: cloning one costs a memory copy, not a walk over objects.
 */

/** Connection numbers carry their worker: `conn % WORKER_SPAN` is its index. */
export const WORKER_SPAN = 64;

/** What the main thread keeps of a session, to rebuild it when its worker dies. */
export interface SessionMemo {
  readonly conn: number;
  readonly v: 1 | 2;
  /** 0 while nobody is logged in. */
  readonly user: number;
  readonly name: string;
  /** Id of the resume token in use; "" for v1. */
  readonly tokenId: string;
  /** What the client calls itself, from its LOGIN or RESUME; "" when it does not say. */
  readonly device: string;
  readonly wantsDelivered: boolean;
  readonly wantsTyping: boolean;
  /** A chat that was put off and has to come again before any later one. */
  readonly refused: Refused | undefined;
  /** Number of the frame that ended the last login, and whose answer may be missing. */
  readonly leftBy: number | undefined;
}

/** See {@linkcode SessionMemo}. */
export interface Refused {
  readonly cid: string;
  /** Number of its frame. */
  readonly seq: number;
  /** When its session waits for it no longer, epoch ms. */
  readonly until: number;
}

/** A connection that a worker is to run a session for. */
export interface Opened {
  readonly conn: number;
  /** Address of the peer, for logs and limits. */
  readonly remote: string;
  /** What an earlier worker had reached with it. */
  readonly memo: SessionMemo | undefined;
  /** Highest push number given to the socket so far; numbering goes on from it. */
  readonly lastPush: number;
}

/** Main thread → session worker. Applied in the order of the fields. */
export interface InLane {
  readonly opened: readonly Opened[];
  readonly bytes: Uint8Array;
  /**
   * Rows of {@linkcode IN_COLUMNS}: conn, seq, offset, length. The seq counts all frames of the
   * worker's connections, so that it grows with time.
   */
  readonly frames: Float64Array;
  /** When the first of the frames was read, epoch ms. */
  readonly readAt: number;
  /** Pairs: conn, highest push number that the socket has taken (v1's receipt; a traced push). */
  readonly written: Float64Array;
  readonly closed: readonly number[];
  /** The latest `OutLane.time` of this worker, or of those before it. */
  readonly time: number;
}
/** Columns of `InLane.frames`. */
export const IN_COLUMNS = 4;

/** Session worker → main thread. */
export interface OutLane {
  readonly memos: readonly SessionMemo[];
  readonly bytes: Uint8Array;
  /** Rows of {@linkcode OUT_COLUMNS}: conn, offset, length, push number (or a mark below). */
  readonly frames: Float64Array;
  /**
   * Rows of {@linkcode DONE_COLUMNS}: conn, seq up to which its frames are finished and need no
   * replay, number of frames that are not finished.
   */
  readonly done: Float64Array;
  /** Time of the worker's hybrid clock: at least that of every id it has pushed, epoch ms. */
  readonly time: number;
}
/** Columns of `OutLane.done`. */
export const DONE_COLUMNS = 3;
/** Columns of `OutLane.frames`. */
export const OUT_COLUMNS = 4;
/** In the push column: an answer, of which nobody needs to know when it is written. */
export const PUSH_NONE = 0;
/** In the push column: the last frame; the connection closes once it is written. */
export const PUSH_CLOSE = -1;

/** A Float64Array that grows; `take` hands its content over and starts again. */
export class Rows {
  #rows: Float64Array;
  #used = 0;

  constructor(capacity = 256) {
    this.#rows = new Float64Array(capacity);
  }

  /** Numbers held. */
  get length(): number {
    return this.#used;
  }

  /** Appends two numbers. */
  add2(a: number, b: number): void {
    this.#reserve(2);
    this.#rows[this.#used++] = a;
    this.#rows[this.#used++] = b;
  }

  /** Appends four numbers. */
  add4(a: number, b: number, c: number, d: number): void {
    this.#reserve(4);
    const rows = this.#rows;
    const at = this.#used;
    rows[at] = a;
    rows[at + 1] = b;
    rows[at + 2] = c;
    rows[at + 3] = d;
    this.#used = at + 4;
  }

  /** A copy of exactly what was added, after which this is empty. */
  take(): Float64Array {
    const taken = this.#rows.slice(0, this.#used);
    this.#used = 0;
    return taken;
  }

  #reserve(count: number): void {
    if (this.#used + count <= this.#rows.length) return;
    const larger = new Float64Array(this.#rows.length * 2);
    larger.set(this.#rows);
    this.#rows = larger;
  }
}

/** First size of a turn's byte buffer; it grows to the largest turn seen, up to KEEP_BYTES. */
const FIRST_BYTES = 64 * 1024;
const KEEP_BYTES = 1024 * 1024;

/** A byte buffer that grows; `take` hands a copy over and starts again. */
export class TurnBytes {
  #bytes = new Uint8Array(FIRST_BYTES);
  #used = 0;
  readonly #encoder = new TextEncoder();

  /** Bytes held; also the offset of what is added next. */
  get length(): number {
    return this.#used;
  }

  /** Appends a range of bytes. */
  addRange(source: Uint8Array, start: number, end: number): void {
    this.#reserve(end - start);
    this.#bytes.set(source.subarray(start, end), this.#used);
    this.#used += end - start;
  }

  /** Appends text as UTF-8; returns the number of bytes. */
  addText(text: string): number {
    this.#reserve(text.length * 3); // a UTF-16 unit is at most three bytes
    const { written } = this.#encoder.encodeInto(text, this.#bytes.subarray(this.#used));
    this.#used += written;
    return written;
  }

  /** A copy of exactly what was added, after which this is empty. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = this.#bytes.slice(0, this.#used);
    this.#used = 0;
    if (this.#bytes.length > KEEP_BYTES) this.#bytes = new Uint8Array(FIRST_BYTES);
    return taken;
  }

  #reserve(count: number): void {
    if (this.#used + count <= this.#bytes.length) return;
    let size = this.#bytes.length * 2;
    while (size < this.#used + count) size *= 2;
    const larger = new Uint8Array(size);
    larger.set(this.#bytes.subarray(0, this.#used));
    this.#bytes = larger;
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * Calls `take` for each frame of the block, in order. A frame that is not UTF-8 has the text "", which is answered
 * with MALFORMED.
 */
export function eachFrame(
  { frames, bytes }: InLane,
  take: (conn: number, seq: number, text: string) => void,
): void {
  if (frames.length === 0) return;
  // Mostly the whole block is ASCII: one decode then serves all frames, as bytes are characters.
  const all = decode(bytes);
  const ascii = all !== undefined && all.length === bytes.length ? all : undefined;
  for (let i = 0; i < frames.length; i += IN_COLUMNS) {
    const start = frames[i + 2] ?? 0;
    const end = start + (frames[i + 3] ?? 0);
    const text = ascii !== undefined
      ? ascii.slice(start, end)
      : decode(bytes.subarray(start, end)) ?? "";
    take(frames[i] ?? 0, frames[i + 1] ?? 0, text);
  }
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

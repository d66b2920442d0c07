/**
 * One client's socket: read loop, frame splitter, bounded out-queue, close reason. It never parses a
 * frame and never waits for anything but its socket.
 *
 * Invariants: one write at a time, in order; to a v1 client each object is a write of its own, to a
 * v2 client what has gathered goes in one; at most `maxQueuedBytes` and one frame wait behind the
 * write in hand; reading stops while too many of its frames are unfinished. `close` is idempotent
 * and releases everything.
 */

import { ERRNO, type ErrorCode } from "@chat/wire/errors.ts";
import { MSGID } from "@chat/wire/messages.ts";
import { FrameSplitter } from "@chat/wire/splitter.ts";
import { PUSH_CLOSE, type SessionMemo } from "../actors/lane.ts";
import type { Clock } from "../actors/ports.ts";
import { borrowBuffer, returnBuffer } from "./read_buffers.ts";

/** Why a connection may end, for the log and the counters. */
export const CLOSE_REASONS = [
  "peer_closed",
  "read_failed",
  "write_failed",
  "protocol_error",
  "silent",
  "slow_reader",
  "login_timeout",
  "too_fast",
  "ended_by_session",
  "shutdown",
] as const;
/** One of them. */
export type CloseReason = (typeof CLOSE_REASONS)[number];

/** What a connection tells its owner. */
export interface ConnectionEvents {
  /** A complete frame; the bytes are borrowed. */
  onFrame(connection: Connection, bytes: Uint8Array, start: number, end: number): void;
  /** The socket has taken all pushes up to this number (v2: where one of them has a number). */
  onWritten(connection: Connection, push: number): void;
  onClosed(connection: Connection, reason: CloseReason): void;
  /** A read that is no JSON objects; the connection ends. The bytes are borrowed. */
  onGarbage?(connection: Connection, bytes: Uint8Array): void;
}

/** Limits of one connection. */
export interface ConnectionLimits {
  /** Bytes that may wait for a slow reader. */
  readonly maxQueuedBytes: number;
  /** Largest frame, braces included. */
  readonly maxFrameBytes: number;
  /** Frames read but not finished, before reading stops. */
  readonly maxUnfinished: number;
  /** Frames between two calls of `tick` before reading stops until the next; 0: no limit. */
  readonly framesPerTick: number;
}

/** How long a last word (BYE) may take to reach the socket, ms. */
const LAST_WORD_MS = 1_000;
/** How long the frames of a peer that has ended may take to be finished, ms. */
const LAST_FRAMES_MS = 2_000;
/** How long a peer that was told may take to close, ms, before the socket is reset under it. */
const LINGER_MS = 3_000;
/** What a peer is told to wait that may come back, ms; each adds its own jitter. */
const COME_BACK_MS = 1_000;
/** Most bytes in one write to a v2 client: bounds the copy that joins pieces. */
const MAX_WRITE_BYTES = 256 * 1024;
/** Ticks in a row over the rate before the peer is told, and before it is closed. */
const TICKS_UNTIL_TOLD = 4;
const TICKS_UNTIL_CLOSED = 20;
/** A pending read holds this little, so that an idle connection is small; large reads borrow. */
const IDLE_READ_BYTES = 512;

const TOO_FAST = new TextEncoder().encode(
  JSON.stringify({
    msgid: MSGID.ERROR,
    errno: ERRNO.TOO_FAST.errno,
    errmsg: ERRNO.TOO_FAST.text,
    retryAfterMs: 1_000,
  }) + "\n",
);

/** What a connection needs of a socket. */
export type Socket =
  & Pick<Deno.Conn, "read" | "write" | "close">
  & Partial<Pick<Deno.Conn, "closeWrite">>;

const timer: Clock["after"] = (ms, fn) => {
  const id = setTimeout(fn, ms);
  return () => clearTimeout(id);
};

interface Piece {
  readonly bytes: Uint8Array;
  readonly push: number;
}

/** See the module's header. */
export class Connection {
  readonly conn: number;
  readonly remote: string;
  /** When somebody was last logged in, or the connection began; epoch ms. */
  loggedOutAt: number;
  /** Number of the last frame handed over. */
  lastSeq = 0;
  /** Frames up to this number are finished. */
  doneSeq = 0;
  /** Frames handed to the session that are not finished; as the session last said, and since. */
  unfinished = 0;
  /** Highest push number queued. */
  lastPush = 0;
  /** When bytes last came, epoch ms to the accuracy of the owner's clock tick. */
  heardAt: number;
  pingedAt = 0;
  /** The peer says nothing more. */
  peerEnded = false;
  closed = false;

  readonly #socket: Socket;
  readonly #events: ConnectionEvents;
  readonly #limits: ConnectionLimits;
  readonly #splitter: FrameSplitter;
  readonly #now: () => number;
  readonly #after: Clock["after"];
  #queue: Piece[] = [];
  #queuedBytes = 0;
  #writing = false;
  /** When the write in hand last got on. */
  #wroteAt = 0;
  #ending = false;
  /** Closed but for the socket, which is read to its end. */
  #lingering = false;
  /** Says BYE; set while frames in hand are finished before it. */
  #leave: (() => void) | undefined;
  #cancelLastWord: (() => void) | undefined;
  #resumeReading: (() => void) | undefined;
  #memo: SessionMemo | undefined;
  /** Frames since the last tick, and for how many ticks they were too many. */
  #frames = 0;
  #ticksOver = 0;

  constructor(
    conn: number,
    socket: Socket,
    remote: string,
    limits: ConnectionLimits,
    events: ConnectionEvents,
    now: () => number,
    after = timer,
  ) {
    this.conn = conn;
    this.remote = remote;
    this.#socket = socket;
    this.#limits = limits;
    this.#events = events;
    this.#now = now;
    this.#after = after;
    this.heardAt = now();
    this.loggedOutAt = this.heardAt;
    this.#splitter = new FrameSplitter((bytes, start, end) => {
      if (this.#ending || this.#leave !== undefined) return;
      this.#frames++;
      events.onFrame(this, bytes, start, end);
    }, limits.maxFrameBytes);
  }

  /** What the session has reached; undefined until it says so. */
  get memo(): SessionMemo | undefined {
    return this.#memo;
  }

  set memo(memo: SessionMemo | undefined) {
    if (this.user !== 0) this.loggedOutAt = this.#now();
    this.#memo = memo;
  }

  /** 1 until the session says otherwise. */
  get v(): 1 | 2 {
    return this.#memo?.v ?? 1;
  }

  /** Who is logged in; 0 while nobody is. */
  get user(): number {
    return this.#memo?.user ?? 0;
  }

  /** Bytes that wait behind the write in hand. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Since when the peer has taken nothing of what is being written, epoch ms. */
  get stuckSince(): number | undefined {
    return this.#writing ? this.#wroteAt : undefined;
  }

  /** Reads until the peer, an error or `close` ends it. Never rejects. */
  async run(rest: Uint8Array): Promise<void> {
    if (rest.length > 0) this.#take(rest);
    const small = new Uint8Array(IDLE_READ_BYTES);
    let buffer = small;
    while (!this.closed || this.#lingering) {
      let count: number | null;
      try {
        count = await this.#socket.read(buffer);
      } catch {
        if (buffer !== small) returnBuffer(buffer);
        this.#hungUp("read_failed");
        return;
      }
      if (count === null) {
        if (buffer !== small) returnBuffer(buffer);
        this.#finishForPeer();
        return;
      }
      this.heardAt = this.#now();
      this.#take(count === buffer.length ? buffer : buffer.subarray(0, count));
      const full = count === buffer.length;
      if (full && buffer === small) buffer = borrowBuffer() ?? small;
      else if (!full && buffer !== small) {
        returnBuffer(buffer);
        buffer = small;
      }
      if (this.unfinished > this.#limits.maxUnfinished || this.#tooFast()) {
        await this.#untilFinished();
      }
    }
    if (buffer !== small) returnBuffer(buffer);
  }

  /** The session has finished its frames up to `seq`; `unfinished` are in its hands. */
  finished(seq: number, unfinished: number): void {
    if (seq > this.doneSeq) this.doneSeq = seq;
    if (this.#leave !== undefined && this.doneSeq >= this.lastSeq) this.#leave();
    // Frames on their way to the session are not counted: the limit is exceeded by one turn's.
    this.unfinished = unfinished;
    if (this.#resumeReading !== undefined) this.#mayResume();
  }

  /**
   * Call at a steady pace: the rate limit counts frames from tick to tick. A peer over it is read
   * no further until the next one; if it keeps on, it is told, and in the end closed.
   */
  tick(): void {
    this.#ticksOver = this.#tooFast() ? this.#ticksOver + 1 : 0;
    // One read brings thousands of small frames: what is over the limit counts in the next ticks.
    this.#frames = Math.max(0, this.#frames - this.#limits.framesPerTick);
    if (this.#ticksOver === TICKS_UNTIL_TOLD) this.send(TOO_FAST);
    if (this.#ticksOver >= TICKS_UNTIL_CLOSED) {
      this.bye("TOO_FAST", ERRNO.TOO_FAST.text, "too_fast", LAST_WORD_MS);
    }
    if (this.#resumeReading !== undefined) this.#mayResume();
  }

  #tooFast(): boolean {
    const { framesPerTick } = this.#limits;
    return framesPerTick > 0 && this.#frames >= framesPerTick;
  }

  #mayResume(): void {
    if (this.unfinished > this.#limits.maxUnfinished / 2 || this.#tooFast()) return;
    this.#resumeReading?.();
    this.#resumeReading = undefined;
  }

  /**
   * Queues a frame; {@linkcode flush} sends it.
   * @param bytes Borrowed until the next flush returns.
   */
  queue(bytes: Uint8Array, push: number): void {
    if (this.closed || this.#ending) return;
    if (push > this.lastPush) this.lastPush = push;
    // What is queued already tells a slow reader: one large answer alone says nothing.
    if (this.#queuedBytes > this.#limits.maxQueuedBytes) {
      this.bye("TRY_LATER", "reads too slowly; what was not received waits", "slow_reader");
      return;
    }
    // What waits behind a write must not keep the whole turn's block alive.
    this.#queue.push({ bytes: this.#writing ? bytes.slice() : bytes, push });
    this.#queuedBytes += bytes.length;
    if (push === PUSH_CLOSE) this.#end("ended_by_session");
  }

  /** Sends what is queued, unless a write is under way: that goes on with it. */
  flush(): void {
    if (this.#writing || this.closed || this.#queue.length === 0) return;
    this.#writeNext();
  }

  /** Tells the peer why and closes; queued frames that nobody began to write are dropped. */
  bye(code: ErrorCode, errmsg: string, reason: CloseReason, retryAfterMs?: number): void {
    if (this.closed || this.#ending) return;
    const { errno } = ERRNO[code];
    const passing = code === "TRY_LATER" || code === "TOO_FAST";
    const retry = passing ? { retryAfterMs: retryAfterMs ?? COME_BACK_MS } : {};
    const text = JSON.stringify({ msgid: MSGID.BYE, errno, errmsg, ...retry }) + "\n";
    const bytes = new TextEncoder().encode(text);
    // An orderly end sends what is queued before it; a slow reader would never get that far.
    if (reason === "slow_reader") {
      this.#queue = [];
      this.#queuedBytes = 0;
    }
    this.#queue.push({ bytes, push: PUSH_CLOSE });
    this.#queuedBytes += bytes.length;
    this.#end(reason);
    this.flush();
  }

  /**
   * The node stops: no further frame is taken, and once those in hand are finished (at the latest
   * after `ms`) the peer is told when to come back. What it sent meanwhile it has to send again.
   */
  leave(retryAfterMs: number, ms: number): void {
    if (this.closed || this.#ending || this.#leave !== undefined) return;
    const say = () => {
      cancel();
      this.#leave = undefined;
      this.bye("TRY_LATER", "the node stops", "shutdown", retryAfterMs);
    };
    const cancel = this.#after(ms, say);
    this.#cancelLastWord = cancel;
    this.#leave = say;
    if (this.doneSeq >= this.lastSeq) say();
  }

  /** Sends bytes at once, beside the sessions' frames: a PING. */
  send(bytes: Uint8Array): void {
    this.queue(bytes, 0);
    this.flush();
  }

  /** Closes the socket now. */
  close(reason: CloseReason): void {
    if (this.closed) return;
    this.closed = true;
    this.#cancelLastWord?.();
    this.#queue = [];
    this.#queuedBytes = 0;
    if (!this.#lingering) this.#closeSocket();
    this.#resumeReading?.();
    this.#resumeReading = undefined;
    this.#events.onClosed(this, this.#endReason ?? reason);
  }
  #endReason: CloseReason | undefined;

  #closeSocket(): void {
    this.#lingering = false;
    this.#cancelLastWord?.();
    try {
      this.#socket.close();
    } catch { // the peer was first
    }
  }

  #end(reason: CloseReason): void {
    this.#ending = true;
    this.#endReason = reason;
    this.#cancelLastWord = this.#after(LAST_WORD_MS, () => this.close(reason));
  }

  /**
   * Closing with bytes unread would reset the connection, and the peer could lose the last word:
   * what still comes is read and dropped until the peer closes, or LINGER_MS are over.
   */
  #lastWordSaid(): void {
    this.#lingering = this.#socket.closeWrite !== undefined && !this.closed && !this.peerEnded;
    this.close("ended_by_session");
    if (!this.#lingering) return;
    this.#cancelLastWord = this.#after(LINGER_MS, () => this.#closeSocket());
    this.#socket.closeWrite?.().catch(() => this.#closeSocket());
  }

  /**
   * The peer says nothing more. What it said before that is finished, and answered as far as it still
   * reads; the connection counts as open until then.
   */
  #finishForPeer(): void {
    this.peerEnded = true;
    if (this.closed || this.#ending || this.#leave !== undefined) {
      return this.#hungUp("peer_closed");
    }
    const end = () => {
      cancel();
      this.#leave = undefined;
      if (this.closed || this.#ending) return;
      if (!this.#writing && this.#queue.length === 0) return this.close("peer_closed");
      this.#end("peer_closed");
      this.flush();
    };
    const cancel = this.#after(LAST_FRAMES_MS, end);
    this.#cancelLastWord = cancel;
    this.#leave = end;
    if (this.doneSeq >= this.lastSeq) end();
  }

  #hungUp(reason: CloseReason): void {
    if (this.#lingering) this.#closeSocket();
    else this.close(reason);
  }

  #take(bytes: Uint8Array): void {
    if (this.#ending) return;
    const error = this.#splitter.feed(bytes);
    if (error === undefined) return;
    if (error === "too_large") {
      this.bye(
        "TOO_LARGE",
        `a frame over ${this.#limits.maxFrameBytes / 1_024} KiB`,
        "protocol_error",
      );
    } else {
      this.#events.onGarbage?.(this, bytes);
      this.bye("MALFORMED", "something other than JSON objects", "protocol_error");
    }
  }

  #untilFinished(): Promise<void> {
    return new Promise((resolve) => this.#resumeReading = resolve);
  }

  #writeNext(): void {
    const first = this.#queue[0];
    if (first === undefined) return;
    this.#writing = true;
    if (this.v === 1 || this.#queue.length === 1) {
      this.#queue.shift();
      this.#queuedBytes -= first.bytes.length;
      this.#write(first.bytes, first.push);
      return;
    }
    let count = 0;
    let total = 0;
    let push = 0;
    for (const piece of this.#queue) {
      if (count > 0 && total + piece.bytes.length > MAX_WRITE_BYTES) break;
      total += piece.bytes.length;
      if (piece.push !== 0) push = piece.push; // they grow; PUSH_CLOSE is the last
      count++;
    }
    const pieces = this.#queue.splice(0, count);
    this.#queuedBytes -= total;
    const joined = new Uint8Array(total);
    let at = 0;
    for (const piece of pieces) {
      joined.set(piece.bytes, at);
      at += piece.bytes.length;
    }
    this.#write(joined, push);
  }

  #write(bytes: Uint8Array, push: number): void {
    this.#wroteAt = this.#now();
    this.#socket.write(bytes).then(
      (count) => {
        if (this.closed) return;
        if (count < bytes.length) {
          this.#write(bytes.subarray(count), push);
          return;
        }
        // What a v1 client was written after it had ended it may never read: it comes again.
        if (push > 0 && !(this.peerEnded && this.v === 1)) this.#events.onWritten(this, push);
        if (push === PUSH_CLOSE) this.#lastWordSaid();
        else if (this.#queue.length > 0) this.#writeNext();
        else {
          this.#writing = false;
          // A BYE would have been the last: that is all a peer that has ended is owed.
          if (this.#ending && this.peerEnded) this.close("peer_closed");
        }
      },
      () => this.close("write_failed"),
    );
  }
}

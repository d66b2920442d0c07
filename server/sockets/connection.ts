/**
 * One client's socket: reads it into frames, writes what it is to be told, and says when and why it
 * ends. It never parses a frame and never waits for anything but its socket.
 *
 * Invariants: one write at a time, in order; to a v1 client each object is a write of its own, to a
 * v2 client what has gathered goes in one; at most `maxQueuedBytes` and one frame wait behind the
 * write in hand; reading stops while `ReadPace` says so. `close` is idempotent and releases
 * everything, the socket once its `Ending` is done with it.
 */

import { ERRNO, type ErrorCode } from "@chat/wire/errors.ts";
import { FrameSplitter } from "@chat/wire/splitter.ts";
import { PUSH_CLOSE, type SessionMemo } from "../../actors/runtime/lane.ts";
import { type Clock, systemClock } from "../../actors/ports.ts";
import type { CloseReason } from "./close_reason.ts";
import { type ClosableSocket, Ending } from "./ending.ts";
import { OutQueue } from "./out_queue.ts";
import { encodeBye, TOO_FAST } from "./own_frames.ts";
import { ReadBuffer } from "./read_buffer.ts";
import { type PaceLimits, ReadPace } from "./read_pace.ts";

/** What a connection tells its owner. */
export interface ConnectionEvents {
  /** A complete frame; the bytes are borrowed. */
  onFrame(connection: Connection, bytes: Uint8Array, start: number, end: number): void;
  /** The socket has taken all pushes up to this number (v2: where one of them has a number). */
  onWritten(connection: Connection, push: number): void;
  onClosed(connection: Connection, reason: CloseReason): void;
  /** Somebody has logged in, or nobody is logged in any more. */
  onUser?(connection: Connection): void;
  /** A read that is no JSON objects; the connection ends. The bytes are borrowed. */
  onGarbage?(connection: Connection, bytes: Uint8Array): void;
}

/** Limits of one connection. */
export interface ConnectionLimits extends PaceLimits {
  /** Bytes that may wait for a slow reader. */
  readonly maxQueuedBytes: number;
  /** Largest frame, braces included. */
  readonly maxFrameBytes: number;
}

/**
 * A classic client takes what one read brings for one object. After its log-in, when what waits comes
 * all at once, so many writes are kept this far apart, ms, so that each finds it reading.
 */
const MAX_SPACED = 64;
const SPACE_MS = 2;

/** What a connection needs of a socket. */
export type Socket = Pick<Deno.Conn, "read" | "write"> & ClosableSocket;

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
  readonly #pace: ReadPace;
  readonly #out = new OutQueue();
  readonly #ending: Ending;
  /** Writes to a v1 client that are still to be kept apart. */
  #spaced = 0;
  /** When the write in hand last got on. */
  #wroteAt = 0;
  #memo: SessionMemo | undefined;

  constructor(
    conn: number,
    socket: Socket,
    remote: string,
    limits: ConnectionLimits,
    events: ConnectionEvents,
    now: () => number,
    after: Clock["after"] = systemClock.after,
    network?: string,
  ) {
    this.conn = conn;
    this.remote = remote;
    this.#socket = socket;
    this.#limits = limits;
    this.#events = events;
    this.#now = now;
    this.#after = after;
    this.#pace = new ReadPace(limits, network);
    this.#ending = new Ending(socket, after);
    this.heardAt = now();
    this.loggedOutAt = this.heardAt;
    this.#splitter = new FrameSplitter((bytes, start, end) => {
      if (this.#ending.begun) return;
      this.#pace.took(end - start);
      events.onFrame(this, bytes, start, end);
    }, limits.maxFrameBytes);
  }

  /** What the session has reached; undefined until it says so. */
  get memo(): SessionMemo | undefined {
    return this.#memo;
  }

  set memo(memo: SessionMemo | undefined) {
    const before = this.user;
    if (before !== 0) this.loggedOutAt = this.#now();
    this.#memo = memo;
    if ((before === 0) === (this.user === 0)) return;
    this.#spaced = before === 0 ? MAX_SPACED : 0;
    // Who has been in once is no stranger any more: what he sent before his LOGOUT is in hand.
    this.#pace.isKnown = true;
    this.#events.onUser?.(this);
  }

  /** 1 until the session says otherwise. */
  get v(): 1 | 2 {
    return this.#memo?.v ?? 1;
  }

  /** Who is logged in; 0 while nobody is. */
  get user(): number {
    return this.#memo?.user ?? 0;
  }

  /** Frames handed to the session that are not finished; as the session last said, and since. */
  get unfinished(): number {
    return this.#pace.unfinished;
  }

  /** Bytes that wait behind the write in hand. */
  get queuedBytes(): number {
    return this.#out.waitingBytes;
  }

  /** Since when the peer has taken nothing of what is being written, epoch ms. */
  get stuckSince(): number | undefined {
    return this.#out.writing ? this.#wroteAt : undefined;
  }

  /** Reads until the peer, an error or `close` ends it. Never rejects. */
  async run(rest: Uint8Array): Promise<void> {
    if (rest.length > 0) this.#take(rest);
    const buffer = new ReadBuffer();
    while (!this.closed || this.#ending.lingering) {
      let count: number | null;
      try {
        count = await this.#socket.read(buffer.bytes);
      } catch {
        buffer.release();
        return this.#hungUp("read_failed");
      }
      if (count === null) {
        buffer.release();
        return this.#finishForPeer();
      }
      this.heardAt = this.#now();
      this.#take(buffer.filled(count));
      buffer.adapt(count);
      // Once closed nobody would let it on: what still comes is dropped, however much.
      if (this.#pace.mustWait && !this.closed) await this.#pace.untilLetOn();
    }
    buffer.release();
  }

  /** The session has finished its frames up to `seq`; `unfinished` are in its hands. */
  finished(seq: number, unfinished: number): void {
    if (seq > this.doneSeq) this.doneSeq = seq;
    if (this.doneSeq >= this.lastSeq) this.#ending.framesFinished();
    this.#pace.finished(unfinished);
  }

  /**
   * Call at a steady pace: the rate limit counts frames from tick to tick. A peer over it is read
   * no further until the next one; if it keeps on, it is told, and in the end closed.
   */
  tick(): void {
    const earned = this.#pace.tick();
    if (earned === "tell") this.send(TOO_FAST);
    else if (earned === "close") this.bye("TOO_FAST", ERRNO.TOO_FAST.text, "too_fast");
  }

  /**
   * Queues a frame; {@linkcode flush} sends it.
   * @param bytes Borrowed until they are written.
   */
  queue(bytes: Uint8Array, push: number): void {
    if (this.closed || this.#ending.reason !== undefined) return;
    if (push > this.lastPush) this.lastPush = push;
    // What is queued already tells a slow reader: one large answer alone says nothing.
    if (this.queuedBytes > this.#limits.maxQueuedBytes) {
      this.bye("TRY_LATER", "reads too slowly; what was not received waits", "slow_reader");
      return;
    }
    this.#out.add(bytes, push);
    if (push === PUSH_CLOSE) this.#lastWord("ended_by_session");
  }

  /** Sends what is queued, unless a write is under way: that goes on with it. */
  flush(): void {
    if (this.closed || this.#out.writing) return;
    const bytes = this.#out.next(this.v === 2);
    if (bytes !== undefined) this.#write(bytes);
  }

  /** Sends bytes at once, beside the sessions' frames: a PING. */
  send(bytes: Uint8Array): void {
    this.queue(bytes, 0);
    this.flush();
  }

  /** Tells the peer why and closes; queued frames that nobody began to write are dropped. */
  bye(code: ErrorCode, errmsg: string, reason: CloseReason, retryAfterMs?: number): void {
    if (this.closed || this.#ending.reason !== undefined) return;
    // An orderly end sends what is queued before it; a slow reader would never get that far.
    if (reason === "slow_reader") this.#out.drop();
    this.#out.add(encodeBye(code, errmsg, retryAfterMs), PUSH_CLOSE);
    this.#lastWord(reason);
    this.flush();
  }

  /**
   * The node stops: no further frame is taken, and once those in hand are finished (at the latest
   * after `ms`) the peer is told when to come back. What it sent meanwhile it has to send again.
   */
  leave(retryAfterMs: number, ms: number): void {
    if (this.closed || this.#ending.begun) return;
    const say = () => this.bye("TRY_LATER", "the node stops", "shutdown", retryAfterMs);
    this.#ending.afterFrames(say, ms);
    if (this.doneSeq >= this.lastSeq) this.#ending.framesFinished();
  }

  /** Closes the connection now. */
  close(reason: CloseReason): void {
    if (this.closed) return;
    this.closed = true;
    this.#out.drop();
    if (!this.#ending.lingering) this.#ending.closeSocket();
    this.#pace.end();
    this.#events.onClosed(this, this.#ending.reason ?? reason);
  }

  #lastWord(reason: CloseReason): void {
    this.#ending.lastWord(reason, () => this.close(reason));
  }

  /**
   * The peer says nothing more. What it said before that is finished, and answered as far as it still
   * reads; the connection counts as open until then.
   */
  #finishForPeer(): void {
    this.peerEnded = true;
    if (this.closed || this.#ending.begun) return this.#hungUp("peer_closed");
    this.#ending.afterFrames(() => this.#answered());
    if (this.doneSeq >= this.lastSeq) this.#ending.framesFinished();
  }

  #answered(): void {
    if (this.closed) return;
    if (this.#out.isEmpty) return this.close("peer_closed");
    this.#lastWord("peer_closed");
    this.flush();
  }

  #hungUp(reason: CloseReason): void {
    if (this.#ending.lingering) this.#ending.closeSocket();
    else this.close(reason);
  }

  #take(bytes: Uint8Array): void {
    if (this.#ending.reason !== undefined) return;
    const error = this.#splitter.feed(bytes);
    if (error === undefined) return;
    if (error === "too_large") {
      const largest = `a frame over ${this.#limits.maxFrameBytes / 1_024} KiB`;
      this.bye("TOO_LARGE", largest, "protocol_error");
    } else {
      this.#events.onGarbage?.(this, bytes);
      this.bye("MALFORMED", "something other than JSON objects", "protocol_error");
    }
  }

  #write(bytes: Uint8Array): void {
    this.#wroteAt = this.#now();
    this.#socket.write(bytes).then(
      (count) => this.#wrote(bytes, count),
      () => this.close("write_failed"),
    );
  }

  #wrote(bytes: Uint8Array, count: number): void {
    if (this.closed) return;
    if (count < bytes.length) return this.#write(bytes.subarray(count));
    const push = this.#out.done();
    // What a v1 client was written after it had ended it may never read: it comes again.
    if (push > 0 && !(this.peerEnded && this.v === 1)) this.#events.onWritten(this, push);
    if (push === PUSH_CLOSE) {
      if (!this.peerEnded) this.#ending.linger();
      return this.close("ended_by_session");
    }
    if (this.#spaced > 0 && this.v === 1 && !this.#out.isEmpty) {
      this.#spaced--;
      this.#after(SPACE_MS, () => this.flush());
    } else this.flush();
    // A BYE would have been the last: that is all a peer that has ended is owed.
    const said = this.#ending.reason !== undefined && !this.#out.writing;
    if (said && this.peerEnded) this.close("peer_closed");
  }
}

/**
 * The way one connection ends: its frames in hand are finished, its last word is written, its socket
 * is read on until the peer has heard it, and closed. Whether and why is the connection's decision;
 * the time that each step may take is kept here.
 *
 * Invariants: steps may be left out, but are taken in this order; at most one timer is armed, none
 * once the socket is closed; the first reason stays.
 */

import type { Clock } from "../../actors/ports.ts";
import type { CloseReason } from "./close_reason.ts";

/** How long the frames in hand of a peer that has ended may take to be finished, ms. */
const LAST_FRAMES_MS = 2_000;
/** How long a last word (BYE) may take to reach the socket, ms. */
const LAST_WORD_MS = 1_000;
/** How long a peer that was told may take to close, ms, before the socket is reset under it. */
const LINGER_MS = 3_000;

/** What an ending needs of a socket. */
export type ClosableSocket = Pick<Deno.Conn, "close"> & Partial<Pick<Deno.Conn, "closeWrite">>;

const timer: Clock["after"] = (ms, fn) => {
  const id = setTimeout(fn, ms);
  return () => clearTimeout(id);
};

/** See the module's header. */
export class Ending {
  readonly #socket: ClosableSocket;
  readonly #after: Clock["after"];
  #reason: CloseReason | undefined;
  /** Set while frames in hand are finished. */
  #onFinished: (() => void) | undefined;
  #lingering = false;
  #cancelTimer: (() => void) | undefined;

  constructor(socket: ClosableSocket, after = timer) {
    this.#socket = socket;
    this.#after = after;
  }

  /** Whether it has begun: no further frame is taken. */
  get begun(): boolean {
    return this.#onFinished !== undefined || this.#reason !== undefined;
  }

  /** Why it ends; undefined until nothing more is said but what is queued. */
  get reason(): CloseReason | undefined {
    return this.#reason;
  }

  /** Closed for all but the socket, which is read to its end. */
  get lingering(): boolean {
    return this.#lingering;
  }

  /** Begins: once the frames in hand are finished, at the latest after `ms`, `then` goes on. */
  afterFrames(then: () => void, ms = LAST_FRAMES_MS): void {
    const goOn = () => {
      this.#cancelTimer?.();
      this.#onFinished = undefined;
      then();
    };
    this.#onFinished = goOn;
    this.#arm(ms, goOn);
  }

  /** No frame is in hand any more. */
  framesFinished(): void {
    this.#onFinished?.();
  }

  /** Nothing more is said but what is queued; `late` is called if that takes too long. */
  lastWord(reason: CloseReason, late: () => void): void {
    this.#onFinished = undefined;
    this.#reason = reason;
    this.#arm(LAST_WORD_MS, late);
  }

  /**
   * The last word is written. Closing with bytes unread would reset the connection, and the peer
   * could lose it: what still comes is to be read and dropped until the peer closes, or LINGER_MS
   * are over. A socket that cannot be half closed does not linger.
   */
  linger(): void {
    if (this.#socket.closeWrite === undefined) return;
    this.#lingering = true;
    this.#arm(LINGER_MS, () => this.closeSocket());
    this.#socket.closeWrite().catch(() => this.closeSocket());
  }

  /** Closes the socket now. */
  closeSocket(): void {
    this.#lingering = false;
    this.#cancelTimer?.();
    try {
      this.#socket.close();
    } catch { // the peer was first
    }
  }

  #arm(ms: number, fn: () => void): void {
    this.#cancelTimer?.();
    this.#cancelTimer = this.#after(ms, fn);
  }
}

/**
 * What a session worker has for the main thread in a turn: frames for sockets, which of their frames
 * sessions have finished, login states. One post carries it all (see lane.ts). It decides nothing.
 *
 * Invariant: a message for many sessions is encoded once a turn and version, and its bytes cross once.
 */

import {
  DONE_COLUMNS,
  type OutLane,
  PUSH_NONE,
  Rows,
  type SessionMemo,
  TurnBytes,
} from "../runtime/lane.ts";
import type { LaneSource, Link } from "../runtime/link.ts";
import type { Delivery } from "../sessions/delivery.ts";
import { piecesV1 } from "../sessions/push_text.ts";
import type { Session } from "../sessions/session.ts";

/** See the module's header. */
export class OutLaneWriter {
  readonly #time: () => number;
  readonly #classicBytes: number;
  #link: Link | undefined;
  #turn = 1;
  readonly #bytes = new TurnBytes();
  readonly #frames = new Rows(1024);
  readonly #touched = new Set<Session>();
  #memos: SessionMemo[] = [];

  /**
   * @param time Of the worker's hybrid clock, epoch ms.
   * @param classicBytes Most bytes of a frame of a v1 session, its end included; 0: any number.
   */
  constructor(time: () => number, classicBytes = 0) {
    this.#time = time;
    this.#classicBytes = classicBytes;
  }

  /** Sends over `link` from now on. */
  attach(link: Link): void {
    this.#link = link;
    link.setLane(this.#take);
  }

  /** A frame for a session's socket; `push` is its number or a mark, see lane.ts. */
  text(session: Session, text: string, push: number): void {
    const at = this.#bytes.length;
    this.#frames.add4(session.conn, at, this.#bytes.addText(text + "\n"), push);
    this.#link?.touch();
  }

  /** A message for a session's socket. */
  push(session: Session, delivery: Delivery, push: number): void {
    const key = this.#turn * 2 + (session.v - 1);
    if (delivery.encodedFor !== key) {
      delivery.encodedAt = this.#bytes.length;
      delivery.encodedBytes = this.#bytes.addText(delivery.text(session.v) + "\n");
      delivery.encodedBefore = [];
      delivery.encodedFor = key;
      const most = this.#classicBytes;
      if (session.v === 1 && most > 0 && delivery.encodedBytes > most) this.#cut(delivery, most);
    }
    const before = delivery.encodedBefore;
    for (let i = 0; i < before.length; i += 2) {
      this.#frames.add4(session.conn, before[i] ?? 0, before[i + 1] ?? 0, PUSH_NONE);
    }
    this.#frames.add4(session.conn, delivery.encodedAt, delivery.encodedBytes, push);
    this.#link?.touch();
  }

  /** The last piece carries the message's number: it is received when that is written. */
  #cut(delivery: Delivery, most: number): void {
    const ranges: number[] = [];
    for (const piece of piecesV1(delivery.message, most - 1)) {
      ranges.push(this.#bytes.length);
      ranges.push(this.#bytes.addText(piece + "\n"));
    }
    delivery.encodedBytes = ranges.pop() ?? 0;
    delivery.encodedAt = ranges.pop() ?? 0;
    delivery.encodedBefore = ranges;
  }

  /** Which of its frames a session has finished may have changed. */
  touch(session: Session): void {
    this.#touched.add(session);
    this.#link?.touch();
  }

  /** A session's login state has changed. */
  remember(session: Session): void {
    this.#memos.push(session.memo());
    this.#link?.touch();
  }

  readonly #take: LaneSource = () => {
    if (this.#frames.length === 0 && this.#touched.size === 0 && this.#memos.length === 0) {
      return undefined;
    }
    const done = new Float64Array(this.#touched.size * DONE_COLUMNS);
    let at = 0;
    for (const session of this.#touched) {
      done[at++] = session.conn;
      done[at++] = session.frames.finishedSeq;
      done[at++] = session.unfinished;
    }
    this.#touched.clear();
    const bytes = this.#bytes.take();
    const data: OutLane = {
      memos: this.#memos,
      bytes,
      frames: this.#frames.take(),
      done,
      time: this.#time(),
    };
    this.#memos = [];
    this.#turn++;
    return { data, transfer: [bytes.buffer] };
  };
}

/**
 * The main thread's side of the session workers: which worker runs which connection, the lane of
 * frames to and from each, and the frames that a worker has not finished, which its successor gets
 * when it dies. No client notices more than a pause.
 *
 * Invariant: a frame is kept until its session says it is finished, and a worker's answers and its
 * word of what is finished arrive in one post, so that neither is seen without the other.
 */

import {
  DONE_COLUMNS,
  IN_COLUMNS,
  type InLane,
  type Opened,
  OUT_COLUMNS,
  type OutLane,
  Rows,
  TurnBytes,
  WORKER_SPAN,
} from "../../actors/runtime/lane.ts";
import type { Link } from "../../actors/runtime/link.ts";
import type { Connection } from "../sockets/connection.ts";

/** Frames of one turn that a worker was given. */
interface Batch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly frames: Float64Array;
  /** Rows before this are finished. */
  cursor: number;
}

/** Once a worker's unfinished batches hold more, those with few unfinished frames are packed. */
const PACK_ABOVE_BYTES = 16 * 1024 * 1024;

interface WorkerSlot {
  readonly index: number;
  /** Number of the last frame, over all its connections. */
  seq: number;
  /** Time of its worker's hybrid clock; see `OutLane.time`. */
  time: number;
  link: Link | undefined;
  bytes: TurnBytes;
  frames: Rows;
  /** When the first of `frames` was read, epoch ms. */
  readAt: number;
  opened: Opened[];
  written: Map<number, number>;
  closed: number[];
  batches: Batch[];
  heldBytes: number;
  connections: number;
}

/** See the module's header. */
export class SessionPool {
  readonly connections = new Map<number, Connection>();
  readonly #slots: WorkerSlot[] = [];
  readonly #now: () => number;
  #nextConn = 1;
  #dirty: Connection[] = [];

  /**
   * @param workers Session workers, 1 to 64.
   * @param now Epoch ms.
   */
  constructor(workers: number, now: () => number = Date.now) {
    this.#now = now;
    for (let index = 0; index < workers; index++) {
      this.#slots.push({
        index,
        seq: 0,
        time: 0,
        link: undefined,
        bytes: new TurnBytes(),
        frames: new Rows(1024),
        readAt: 0,
        opened: [],
        written: new Map(),
        closed: [],
        batches: [],
        heldBytes: 0,
        connections: 0,
      });
    }
  }

  /** Indexes of all session workers. */
  get workers(): Iterable<number> {
    return this.#slots.keys();
  }

  /** Bytes of frames kept for a worker's successor. */
  get heldBytes(): number {
    return this.#slots.reduce((sum, slot) => sum + slot.heldBytes, 0);
  }

  /** A number for a new connection, at the worker that has the fewest. */
  nextConn(): number {
    let least = this.#slots[0];
    for (const slot of this.#slots) {
      if (least === undefined || slot.connections < least.connections) least = slot;
    }
    return this.#nextConn++ * WORKER_SPAN + (least?.index ?? 0);
  }

  /** A worker runs (anew): it gets its connections as they were and what they have unfinished. */
  attach(index: number, link: Link): void {
    const slot = this.#slot(index);
    const batches = slot.batches;
    const waiting = { bytes: slot.bytes.take(), frames: slot.frames.take() };
    slot.batches = [];
    slot.heldBytes = 0;
    slot.written.clear();
    slot.closed = [];
    slot.opened = [];
    for (const connection of this.connections.values()) {
      if (connection.conn % WORKER_SPAN === index) slot.opened.push(opened(connection));
    }
    for (const batch of batches) this.#again(slot, batch.bytes, batch.frames);
    this.#again(slot, waiting.bytes, waiting.frames);
    slot.link = link;
    link.setLane(() => this.#takeLane(slot));
    link.touch();
  }

  /** A worker has died: what comes for it waits for the next. */
  detach(index: number): void {
    this.#slot(index).link = undefined;
  }

  /** A new connection, which has its number already. */
  open(connection: Connection): void {
    this.connections.set(connection.conn, connection);
    const slot = this.#slotOf(connection);
    slot.connections++;
    slot.opened.push(opened(connection));
    slot.link?.touch();
  }

  /** A frame of a connection, in stream order. */
  frame(connection: Connection, bytes: Uint8Array, start: number, end: number): void {
    const slot = this.#slotOf(connection);
    if (slot.frames.length === 0) slot.readAt = this.#now();
    slot.frames.add4(connection.conn, ++slot.seq, slot.bytes.length, end - start);
    connection.lastSeq = slot.seq;
    slot.bytes.addRange(bytes, start, end);
    slot.link?.touch();
  }

  /** A socket has taken all pushes up to a number. */
  written(connection: Connection, push: number): void {
    const slot = this.#slotOf(connection);
    slot.written.set(connection.conn, push);
    slot.link?.touch();
  }

  /** A connection is gone. */
  close(connection: Connection): void {
    if (!this.connections.delete(connection.conn)) return;
    const slot = this.#slotOf(connection);
    slot.connections--;
    slot.closed.push(connection.conn);
    slot.link?.touch();
  }

  /** A worker's turn: states, frames for sockets, and what is finished. */
  receiveLane(index: number, lane: OutLane): void {
    const { connections } = this;
    const slot = this.#slot(index);
    if (lane.time > slot.time) slot.time = lane.time;
    for (const memo of lane.memos) {
      const connection = connections.get(memo.conn);
      if (connection !== undefined) connection.memo = memo;
    }
    const { frames, bytes } = lane;
    for (let i = 0; i < frames.length; i += OUT_COLUMNS) {
      const connection = connections.get(frames[i] ?? 0);
      if (connection === undefined) continue;
      const at = frames[i + 1] ?? 0;
      connection.queue(bytes.subarray(at, at + (frames[i + 2] ?? 0)), frames[i + 3] ?? 0);
      this.#dirty.push(connection);
    }
    for (const connection of this.#dirty) connection.flush();
    this.#dirty = [];
    const { done } = lane;
    for (let i = 0; i < done.length; i += DONE_COLUMNS) {
      connections.get(done[i] ?? 0)?.finished(done[i + 1] ?? 0, done[i + 2] ?? 0);
    }
    this.#release(slot);
  }

  #takeLane(slot: WorkerSlot): { data: InLane; transfer: Transferable[] } | undefined {
    const idle = slot.frames.length === 0 && slot.opened.length === 0 &&
      slot.closed.length === 0 && slot.written.size === 0;
    if (idle) return undefined;
    const bytes = slot.bytes.take();
    const frames = slot.frames.take();
    if (frames.length > 0) {
      slot.batches.push({ bytes, frames, cursor: 0 });
      slot.heldBytes += bytes.length;
      if (slot.heldBytes > PACK_ABOVE_BYTES) this.#pack(slot);
    }
    const written = new Float64Array(slot.written.size * 2);
    let at = 0;
    for (const [conn, push] of slot.written) {
      written[at++] = conn;
      written[at++] = push;
    }
    const { opened, closed, readAt, time } = slot;
    slot.opened = [];
    slot.closed = [];
    slot.written.clear();
    // The bytes are cloned, not transferred: they stay here until they are finished.
    return { data: { opened, bytes, frames, readAt, written, closed, time }, transfer: [] };
  }

  /** Lets go of the oldest batches whose frames are all finished. Each row is passed once. */
  #release(slot: WorkerSlot): void {
    let gone = 0;
    for (const batch of slot.batches) {
      const { frames } = batch;
      while (batch.cursor < frames.length && this.#finished(frames, batch.cursor)) {
        batch.cursor += IN_COLUMNS;
      }
      if (batch.cursor < frames.length) break;
      slot.heldBytes -= batch.bytes.length;
      gone++;
    }
    if (gone > 0) slot.batches.splice(0, gone);
  }

  #finished(frames: Float64Array, row: number): boolean {
    const connection = this.connections.get(frames[row] ?? 0);
    return connection === undefined || connection.doneSeq >= (frames[row + 1] ?? 0);
  }

  /** One unfinished frame (a login that waits for its hash) must not keep megabytes of others. */
  #pack(slot: WorkerSlot): void {
    const kept = { bytes: new TurnBytes(), frames: new Rows() };
    for (const { bytes, frames } of slot.batches) this.#copy(kept, bytes, frames);
    const bytes = kept.bytes.take();
    slot.batches = [{ bytes, frames: kept.frames.take(), cursor: 0 }];
    slot.heldBytes = bytes.length;
  }

  /** Queues the unfinished frames of a lost batch again, ahead of what comes next. */
  #again(slot: WorkerSlot, bytes: Uint8Array, frames: Float64Array): void {
    this.#copy(slot, bytes, frames);
  }

  #copy(to: { bytes: TurnBytes; frames: Rows }, bytes: Uint8Array, frames: Float64Array): void {
    for (let i = 0; i < frames.length; i += IN_COLUMNS) {
      if (this.#finished(frames, i)) continue;
      const start = frames[i + 2] ?? 0;
      const length = frames[i + 3] ?? 0;
      to.frames.add4(frames[i] ?? 0, frames[i + 1] ?? 0, to.bytes.length, length);
      to.bytes.addRange(bytes, start, start + length);
    }
  }

  #slotOf(connection: Connection): WorkerSlot {
    return this.#slot(connection.conn % WORKER_SPAN);
  }

  #slot(index: number): WorkerSlot {
    const slot = this.#slots[index];
    if (slot === undefined) throw new RangeError(`no session worker ${index}`);
    return slot;
  }
}

function opened({ conn, remote, memo, lastPush }: Connection): Opened {
  return { conn, remote, memo, lastPush };
}

/**
 * The generator's connections: one thread, one epoll loop, frames handed to each link's owner.
 * Answers PING itself; knows nothing else of the protocol.
 * Invariant: a frame is valid only during `onFrame`; its buffer is shared by all links.
 */

import { close, CLOSED, connectError, dial, Poller, receive, send, WOULD_BLOCK } from "./libc.ts";
import { Scanner } from "./scanner.ts";

/** What a connection's traffic goes to. */
export interface Owner {
  /** One object from the server, found by `scanner` in `buffer`. */
  onFrame(link: Link, buffer: Uint8Array, scanner: Scanner): void;
  /** All frames of one read have been handed over: the time to write, once. */
  onTurn(link: Link): void;
  /** The connection could not be made, or the server ended it. */
  onClosed(link: Link, why: string): void;
}

/** One connection. `flow` and `member` are the owner's. */
export class Link {
  /** Begins of an object whose rest has not come. */
  tail: Uint8Array | undefined;
  /** Writes the system has not taken yet, in order. */
  readonly out: Uint8Array<ArrayBuffer>[] = [];
  connected = false;
  open = true;
  flow = 0;
  member = -1;

  constructor(readonly fd: number, readonly slot: number, public owner: Owner) {}
}

const PING = 14;
const READ_BYTES = 256 * 1024;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Text and bytes of one object; classic servers read C strings, hence the NUL. */
export function frame(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text + "\0");
}

/** The object `scanner` has found, parsed. For the slow paths only. */
export function parseFrame(buffer: Uint8Array, scanner: Scanner): Record<string, unknown> {
  const value: unknown = JSON.parse(decoder.decode(buffer.subarray(scanner.start, scanner.end)));
  return typeof value === "object" && value !== null ? { ...value } : {};
}

/** Owns every link of this process. */
export class Loop {
  readonly #poller = new Poller();
  readonly #links: (Link | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #buffer = new Uint8Array(READ_BYTES);
  readonly #scanner = new Scanner();
  /** Time of the read being handled, ms, as `performance.now`. */
  nowMs = 0;
  /** Bytes read so far. */
  bytesIn = 0;

  constructor(readonly host: string) {}

  /** Begins a connection; what is written before it stands waits. */
  dial(port: number, owner: Owner): Link {
    const fd = dial(this.host, port);
    const slot = this.#free.pop() ?? this.#links.length;
    const link = new Link(fd, slot, owner);
    this.#links[slot] = link;
    this.#poller.add(fd, slot, true);
    return link;
  }

  /** Closes without telling the owner. */
  close(link: Link): void {
    if (!link.open) return;
    link.open = false;
    this.#poller.remove(link.fd);
    close(link.fd);
    this.#links[link.slot] = undefined;
    this.#free.push(link.slot);
  }

  /** Writes the first `length` bytes of `data`, which may be reused at once. */
  write(link: Link, data: Uint8Array<ArrayBuffer>, length: number): void {
    if (!link.open) return;
    if (!link.connected || link.out.length > 0) {
      link.out.push(data.slice(0, length));
      return;
    }
    const n = send(link.fd, data, length);
    if (n === length) return;
    if (n === CLOSED) {
      this.#lost(link, "connection reset");
      return;
    }
    link.out.push(data.slice(n, length));
    this.#poller.change(link.fd, link.slot, true);
  }

  /** Handles what is ready, waiting at most `timeoutMs` for it. */
  turn(timeoutMs: number): void {
    const ready = this.#poller.wait(timeoutMs);
    for (let i = 0; i < ready; i++) {
      const link = this.#links[this.#poller.slot(i)];
      if (link === undefined) continue; // closed earlier in this turn
      if (this.#poller.writable(i)) this.#onWritable(link);
      if (link.open && this.#poller.readable(i)) this.#onReadable(link);
    }
  }

  /** Turns until `done`, at most `limitMs` without `progress` changing. False when it gave up. */
  until(done: () => boolean, progress: () => number, limitMs: number): boolean {
    let last = progress();
    let since = performance.now();
    while (!done()) {
      this.turn(50);
      const now = progress();
      if (now !== last) {
        last = now;
        since = performance.now();
      } else if (performance.now() - since > limitMs) {
        return false;
      }
    }
    return true;
  }

  #onWritable(link: Link): void {
    if (!link.connected) {
      const code = connectError(link.fd);
      if (code !== 0) {
        this.#lost(link, `connect failed: errno ${code}`);
        return;
      }
      link.connected = true;
    }
    for (let data = link.out.shift(); data !== undefined; data = link.out.shift()) {
      const n = send(link.fd, data, data.length);
      if (n === CLOSED) {
        this.#lost(link, "connection reset");
        return;
      }
      if (n < data.length) {
        link.out.unshift(data.subarray(n));
        return;
      }
    }
    this.#poller.change(link.fd, link.slot, false);
  }

  #onReadable(link: Link): void {
    const buffer = this.#buffer;
    const held = link.tail?.length ?? 0;
    if (link.tail !== undefined) buffer.set(link.tail);
    const n = receive(link.fd, held === 0 ? buffer : buffer.subarray(held));
    if (n === WOULD_BLOCK) return;
    if (n === CLOSED) {
      this.#lost(link, "the server closed the connection");
      return;
    }
    this.nowMs = performance.now();
    this.bytesIn += n;
    const limit = held + n;
    const scanner = this.#scanner;
    let from = 0;
    while (link.open && scanner.next(buffer, from, limit)) {
      from = scanner.end;
      if (scanner.msgid === PING) this.#pong(link, scanner);
      else link.owner.onFrame(link, buffer, scanner);
    }
    if (!link.open) return;
    link.tail = scanner.start < limit && scanner.start >= from
      ? buffer.slice(scanner.start, limit)
      : undefined;
    link.owner.onTurn(link);
  }

  #pong(link: Link, scanner: Scanner): void {
    const { req } = parseFrame(this.#buffer, scanner);
    const data = frame(JSON.stringify({ msgid: 15, req }));
    this.write(link, data, data.length);
  }

  #lost(link: Link, why: string): void {
    this.close(link);
    link.owner.onClosed(link, why);
  }
}

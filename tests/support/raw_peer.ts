/**
 * A hostile client: a socket that sends whatever it is given, as fast as it may, and throws away what
 * comes but for what somebody waits for. It keeps nothing, so that a flood costs the server more than
 * the attacker.
 */

import { FrameSplitter } from "@chat/wire/splitter.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** How long an answer is waited for, ms. */
const ANSWER_MS = 20_000;

/** One connection, from an address of its own. */
export class RawPeer {
  readonly #socket: Deno.TcpConn;
  readonly #waiting = new Map<number, (message: Record<string, unknown>) => void>();
  /** What all of this thread have done. */
  static readonly work = { connections: 0, bytes: 0 };
  ended = false;

  private constructor(socket: Deno.TcpConn, reads: boolean) {
    this.#socket = socket;
    if (reads) void this.#read();
  }

  /**
   * Connects.
   * @param from Its address, told as by a balancer; undefined for a socket without a header.
   * @param reads Whether it takes what the server sends. @default true
   */
  static async open(port: number, from: string | undefined, reads = true): Promise<RawPeer> {
    const socket = await Deno.connect({ hostname: "127.0.0.1", port });
    RawPeer.work.connections++;
    const peer = new RawPeer(socket, reads);
    if (from === undefined) return peer;
    const family = from.includes(":") ? "TCP6" : "TCP4";
    await peer.write(`PROXY ${family} ${from} ${from} 50000 6000\r\n`);
    return peer;
  }

  /** Sends text; false when the connection has ended. */
  async write(text: string): Promise<boolean> {
    try {
      let rest = encoder.encode(text);
      while (rest.length > 0 && !this.ended) {
        const count = await this.#socket.write(rest);
        RawPeer.work.bytes += count;
        rest = rest.subarray(count);
      }
    } catch {
      this.ended = true; // what an attacker has to expect
    }
    return !this.ended;
  }

  /** Sends an object. */
  send(message: object): Promise<boolean> {
    return this.write(`${JSON.stringify(message)}\n`);
  }

  /** Sends a request and waits for the next message of one of these kinds. */
  async ask(message: object, ...msgids: number[]): Promise<Record<string, unknown>> {
    const { promise, resolve, reject } = Promise.withResolvers<Record<string, unknown>>();
    for (const msgid of msgids) this.#waiting.set(msgid, resolve);
    const timer = setTimeout(() => reject(new Error("no answer")), ANSWER_MS);
    await this.send(message);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      for (const msgid of msgids) this.#waiting.delete(msgid);
    }
  }

  close(): void {
    this.ended = true;
    try {
      this.#socket.close();
    } catch { // the server was first
    }
  }

  async #read(): Promise<void> {
    const splitter = new FrameSplitter((bytes, start, end) => {
      const text = decoder.decode(bytes.subarray(start, end));
      const msgid = Number(/"msgid":(\d+)/.exec(text)?.[1] ?? 0);
      const waiting = this.#waiting.get(msgid);
      if (waiting !== undefined) waiting(JSON.parse(text));
    }, 16 * 1_024 * 1_024);
    const buffer = new Uint8Array(64 * 1_024);
    try {
      for (;;) {
        const count = await this.#socket.read(buffer);
        if (count === null) break;
        splitter.feed(buffer.subarray(0, count));
      }
    } catch { // closed, by either side
    }
    this.ended = true;
  }
}

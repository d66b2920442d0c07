/**
 * A client that is nothing but a socket: sends what the test says, byte for byte, keeps what comes,
 * and waits for it with a deadline. Speaks v1 or v2 as the test asks; knows no client library.
 */

import { FrameSplitter } from "@chat/wire/splitter.ts";
import { MSGID } from "@chat/wire/messages.ts";

/** What a server sent. */
export type Received = Readonly<Record<string, unknown>> & { readonly msgid: number };

/** How long a test waits for one message or one end, ms: many times what it takes. */
export const WAIT_MS = 10_000;

export const PASSWORD = "correct horse";

interface Waiting {
  readonly matches: (message: Received) => boolean;
  readonly resolve: (message: Received) => void;
  readonly giveUp: () => void;
}

/** One connection to a server. Closes when disposed. */
export class TestPeer implements AsyncDisposable {
  /** Everything that came, in order, taken or not. */
  readonly received: Received[] = [];
  /** The bytes of each read. */
  readonly reads: Uint8Array[] = [];

  readonly #socket: Deno.TcpConn;
  readonly #v: 1 | 2;
  readonly #reading: Promise<void>;
  readonly #inbox: Received[] = [];
  readonly #waiting = new Set<Waiting>();
  readonly #onEnd: (() => void)[] = [];
  #ended = false;
  #paused: { promise: Promise<void>; resume: () => void } | undefined;
  #nextReq = 1;
  #id = 0;

  private constructor(socket: Deno.TcpConn, v: 1 | 2) {
    this.#socket = socket;
    this.#v = v;
    this.#reading = this.#read();
  }

  /** Connects; nothing is sent yet. */
  static async connect(port: number, v: 1 | 2 = 2, hostname = "127.0.0.1"): Promise<TestPeer> {
    const socket = await Deno.connect({ hostname, port });
    socket.setNoDelay(true);
    return new TestPeer(socket, v);
  }

  /** The server has closed, or this side has. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Who entered last with `enter`; 0 before. */
  get id(): number {
    return this.#id;
  }

  /** Messages that no `expect` has taken. */
  get untaken(): readonly Received[] {
    return this.#inbox;
  }

  // ── bytes ──────────────────────────────────────────────────────────────────────────────────

  /** Sends objects, as classic clients do (v1: a NUL after each) or with newlines. */
  async send(...messages: object[]): Promise<void> {
    const end = this.#v === 1 ? "\0" : "\n";
    await this.sendText(messages.map((m) => JSON.stringify(m) + end).join(""));
  }

  async sendText(text: string): Promise<void> {
    await this.sendBytes(new TextEncoder().encode(text));
  }

  async sendBytes(bytes: Uint8Array): Promise<void> {
    let rest = bytes;
    while (rest.length > 0) rest = rest.subarray(await this.#socket.write(rest));
  }

  /** Says that nothing more will be sent. */
  async finish(): Promise<void> {
    await this.#socket.closeWrite();
  }

  /** Stops reading, so that the server's writes pile up; `resumeReading` goes on. */
  pauseReading(): void {
    if (this.#paused !== undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#paused = { promise, resume: resolve };
  }

  resumeReading(): void {
    this.#paused?.resume();
    this.#paused = undefined;
  }

  // ── what comes ─────────────────────────────────────────────────────────────────────────────

  /**
   * Takes the first message not yet taken that has this msgid and satisfies `matches`.
   * @throws {Error} When none has come in time or the connection has ended; it says what has come.
   */
  expect(
    msgid: number,
    matches: (message: Received) => boolean = () => true,
    ms = WAIT_MS,
  ): Promise<Received> {
    const fits = (m: Received) => m.msgid === msgid && matches(m);
    return this.#next(fits, `msgid ${msgid} with ${matches}`, ms);
  }

  /** Takes all messages of this msgid that have come and were not taken. */
  takeAll(msgid: number): Received[] {
    const taken = this.#inbox.filter((m) => m.msgid === msgid);
    const rest = this.#inbox.filter((m) => m.msgid !== msgid);
    this.#inbox.splice(0, this.#inbox.length, ...rest);
    return taken;
  }

  /** Takes the first message not yet taken, of whatever kind. */
  next(ms = WAIT_MS): Promise<Received> {
    return this.#next(() => true, "a message", ms);
  }

  /** Resolves when the server has closed the connection. */
  async closed(ms = WAIT_MS): Promise<void> {
    if (this.#ended) return;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`open after ${ms} ms; ${this}`)), ms);
      this.#onEnd.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** BYE, then the end of the connection. */
  async expectBye(): Promise<Received> {
    const bye = await this.expect(MSGID.BYE);
    await this.closed();
    return bye;
  }

  /**
   * Every message that came before the answer to a question asked now: whatever the server had for
   * this connection by then is here.
   */
  async fence(): Promise<void> {
    const req = `fence ${this.#nextReq++}`;
    await this.send({ msgid: MSGID.PING, req });
    await this.expect(MSGID.PONG, (m) => m.req === req);
  }

  // ── requests ───────────────────────────────────────────────────────────────────────────────

  /** Sends a v2 request and takes the answer that carries its `req`. */
  async ask(message: object): Promise<Received> {
    const req = this.#nextReq++;
    await this.send({ ...message, req });
    return await this.#next((m) => m.req === req, `the answer to ${JSON.stringify(message)}`);
  }

  /** Registers, and returns the new id. */
  async register(name: string, password = PASSWORD): Promise<number> {
    await this.send({ msgid: MSGID.REGISTER, name, password, ...this.#version() });
    const { errno, id } = await this.expect(MSGID.REGISTER_ACK);
    if (errno !== 0 || typeof id !== "number") throw new Error(`no registration: ${this}`);
    return id;
  }

  /** Logs in; the answer may be a refusal. */
  async login(id: number, password = PASSWORD, fields: object = {}): Promise<Received> {
    await this.send({ msgid: MSGID.LOGIN, id, password, ...this.#version(), ...fields });
    return await this.expect(MSGID.LOGIN_ACK);
  }

  /** Registers and logs in; returns the id. */
  async enter(name: string, fields: object = {}): Promise<number> {
    const id = await this.register(name);
    const ack = await this.login(id, PASSWORD, fields);
    this.#id = id;
    if (ack.errno !== 0) throw new Error(`no login: ${JSON.stringify(ack)}`);
    return id;
  }

  /** v2: sends a chat and takes its CHAT_ACK. */
  async chat(toid: number, msg: string, cid: string = crypto.randomUUID()): Promise<Received> {
    await this.send({ msgid: MSGID.ONE_CHAT, toid, msg, cid });
    return await this.expect(MSGID.CHAT_ACK, (m) => m.cid === cid);
  }

  /** v2: takes a push and confirms it. */
  async take(msgid: number, matches?: (message: Received) => boolean): Promise<Received> {
    const push = await this.expect(msgid, matches);
    await this.send({ msgid: MSGID.RECV_ACK, mids: [push.mid] });
    return push;
  }

  #version(): object {
    return this.#v === 2 ? { v: 2 } : {};
  }

  #next(
    matches: (message: Received) => boolean,
    wanted: string,
    ms = WAIT_MS,
  ): Promise<Received> {
    const at = this.#inbox.findIndex(matches);
    const [found] = at < 0 ? [] : this.#inbox.splice(at, 1);
    if (found !== undefined) return Promise.resolve(found);
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        clearTimeout(timer);
        this.#waiting.delete(waiting);
        reject(new Error(`${this.#ended ? "closed" : `${ms} ms`} without ${wanted}; ${this}`));
      };
      const timer = setTimeout(giveUp, ms);
      const waiting: Waiting = {
        matches,
        giveUp,
        resolve(message) {
          clearTimeout(timer);
          resolve(message);
        },
      };
      if (this.#ended) giveUp();
      else this.#waiting.add(waiting);
    });
  }

  /** For error messages: what came and was not taken. */
  toString(): string {
    const lines = this.#inbox.slice(-20).map((m) => JSON.stringify(m).slice(0, 300));
    return `${this.received.length} messages came, not taken: ${lines.join(" ") || "none"}`;
  }

  /** Closes the socket, as a client that dies does. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.resumeReading();
    try {
      this.#socket.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
    await this.#reading;
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder("utf-8", { fatal: true });
    const splitter = new FrameSplitter((bytes, start, end) => {
      this.#take(JSON.parse(decoder.decode(bytes.subarray(start, end))));
    }, 16 * 1024 * 1024);
    const buffer = new Uint8Array(64 * 1024);
    try {
      for (;;) {
        await this.#paused?.promise;
        const count = await this.#socket.read(buffer);
        if (count === null) break;
        this.reads.push(buffer.slice(0, count));
        const error = splitter.feed(buffer.subarray(0, count));
        if (error !== undefined) throw new Error(`the server sent ${error}`);
      }
    } catch (error) {
      const closed = error instanceof Deno.errors.BadResource ||
        error instanceof Deno.errors.Interrupted || error instanceof Deno.errors.ConnectionReset;
      if (!closed) throw error;
    } finally {
      this.#ended = true;
      for (const waiting of this.#waiting) waiting.giveUp();
      for (const told of this.#onEnd.splice(0)) told();
    }
  }

  #take(message: Received): void {
    this.received.push(message);
    for (const waiting of this.#waiting) {
      if (!waiting.matches(message)) continue;
      this.#waiting.delete(waiting);
      waiting.resolve(message);
      return;
    }
    this.#inbox.push(message);
  }
}

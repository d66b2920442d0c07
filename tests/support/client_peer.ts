/**
 * A scripted server for one client: real sockets, answers written by the test. Only for what a real
 * server cannot be made to do: lost acknowledgements, refusals at will, malformed frames, silence.
 */

import { deadline } from "@std/async/deadline";
import { z } from "zod";
import { FrameSplitter } from "@chat/wire/splitter.ts";
import { MSGID } from "@chat/wire/messages.ts";

const WAIT_MS = 10_000;

const Frame = z.looseObject({ msgid: z.number() });
/** What a client sent. */
export type Frame = z.infer<typeof Frame>;

/** One accepted connection. */
export class Peer implements AsyncDisposable {
  readonly #conn: Deno.Conn;
  readonly #frames: Frame[] = [];
  #wake = Promise.withResolvers<void>();
  #ended = false;
  readonly #reading: Promise<void>;

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
    this.#reading = this.#read();
  }

  /** The next frame that is no PING. */
  async next(): Promise<Frame> {
    while (true) {
      const frame = await this.nextOfAny();
      if (frame.msgid !== MSGID.PING) return frame;
    }
  }

  async nextOfAny(): Promise<Frame> {
    while (true) {
      const frame = this.#frames.shift();
      if (frame !== undefined) return frame;
      if (this.#ended) throw new Error("the client closed the connection");
      await deadline(this.#wake.promise, WAIT_MS);
    }
  }

  /** The next chat; receipts before it are passed over. */
  async nextChat(): Promise<Frame> {
    while (true) {
      const frame = await this.next();
      if (frame.msgid !== MSGID.RECV_ACK) return frame;
    }
  }

  /** The next frame, which must have this msgid. */
  async expect(msgid: number): Promise<Frame> {
    const frame = await this.next();
    if (frame.msgid !== msgid) {
      throw new Error(`expected msgid ${msgid}, got ${JSON.stringify(frame)}`);
    }
    return frame;
  }

  async send(...messages: object[]): Promise<void> {
    await this.sendText(messages.map((message) => `${JSON.stringify(message)}\n`).join(""));
  }

  async sendText(text: string): Promise<void> {
    let rest = new TextEncoder().encode(text);
    while (rest.length > 0) rest = rest.subarray(await this.#conn.write(rest));
  }

  /** Answers the LOGIN or RESUME that comes next with success. */
  async logIn(fields: object = {}): Promise<Frame> {
    const request = await this.next();
    await this.send({
      msgid: MSGID.LOGIN_ACK,
      errno: 0,
      id: 1,
      name: "alice",
      token: "token-1",
      heartbeat: 30,
      node: "n",
      friends: [],
      groups: [],
      req: request.req,
      ...fields,
    });
    return request;
  }

  /** Resolves when the client has closed. */
  async closed(): Promise<void> {
    await deadline(this.#reading, WAIT_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#conn.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
    await this.#reading;
  }

  async #read(): Promise<void> {
    const splitter = new FrameSplitter((bytes, start, end) => {
      const text = new TextDecoder().decode(bytes.subarray(start, end));
      this.#frames.push(Frame.parse(JSON.parse(text)));
    });
    const buffer = new Uint8Array(65_536);
    try {
      while (true) {
        const count = await this.#conn.read(buffer);
        if (count === null) break;
        splitter.feed(buffer.subarray(0, count));
        this.#rouse();
      }
    } catch (error) {
      const closed = error instanceof Deno.errors.BadResource ||
        error instanceof Deno.errors.Interrupted || error instanceof Deno.errors.ConnectionReset;
      if (!closed) throw error;
    }
    this.#ended = true;
    this.#rouse();
  }

  #rouse(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers<void>();
  }
}

/** Where a scripted server listens. */
export class PeerListener implements Disposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });

  get port(): number {
    return this.#listener.addr.port;
  }

  async accept(): Promise<Peer> {
    return new Peer(await deadline(this.#listener.accept(), WAIT_MS));
  }

  [Symbol.dispose](): void {
    this.#listener.close();
  }
}

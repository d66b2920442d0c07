/**
 * Somebody who writes as the client library does: what is put off comes again under its cid, with
 * everything after it, in order. Its time counts from the first sending.
 */

import { ERRNO } from "@chat/wire/errors.ts";
import { MSGID } from "@chat/wire/messages.ts";
import { Outbox } from "../../client/library/outbox.ts";
import { type Received, TestPeer } from "../support/test_peer.ts";

/** More than is written in the longest run. */
const LIMITS = { maxEntries: 100_000, maxUnits: 10_000_000, window: 256 };
/** How long an answer may take, ms. */
const ANSWER_MS = 20_000;
/** Answers after which the same message may come again. */
const PASSING: ReadonlySet<unknown> = new Set([ERRNO.TRY_LATER.errno, ERRNO.TOO_FAST.errno]);
/** `req` of the question whose answer is the last that is read. */
const LAST = "last";

/** See the module's header. `read` runs beside `write`. */
export class Writer {
  readonly #peer: TestPeer;
  readonly #toid: number;
  readonly #outbox = new Outbox(LIMITS);
  /** cid ⇒ when it was first sent, ms. */
  readonly #began = new Map<string, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #said = Promise.withResolvers<void>();
  #isFinishing = false;

  /** How long each acknowledged message took, ms. */
  readonly times: number[] = [];
  readonly acknowledged = new Set<unknown>();
  /** What was refused for good, in words. */
  readonly refused: string[] = [];
  putOff = 0;

  /** @param peer Somebody who is logged in; nobody else takes what comes on it. */
  constructor(peer: TestPeer, toid: number) {
    this.#peer = peer;
    this.#toid = toid;
    this.#outbox.rewind(1);
  }

  /** Writes a message; it may have to wait for others that were put off. */
  async write(cid: string, msg: string): Promise<void> {
    const chat = { cid, from: 1, toid: this.#toid, groupid: 0, msg, at: Date.now() };
    this.#began.set(cid, performance.now());
    this.#outbox.add(chat);
    await this.#send();
  }

  /** Resolves when everything has its answer, after which `read` ends; rejects after `ms`. */
  async finish(ms: number): Promise<void> {
    this.#isFinishing = true;
    this.#look();
    const timer = setTimeout(() => {
      this.#said.reject(new Error(`${this.#outbox.size} messages were not acknowledged`));
    }, ms);
    try {
      await this.#said.promise;
    } finally {
      clearTimeout(timer);
      clearTimeout(this.#timer);
    }
    await this.#peer.send({ msgid: MSGID.PING, req: LAST });
  }

  /** Takes what comes, until after `finish`. @throws {Error} The connection has ended. */
  async read(): Promise<void> {
    try {
      for (;;) {
        const message = await this.#peer.next(ANSWER_MS);
        if (message.msgid === MSGID.PONG && message.req === LAST) return;
        this.#take(message);
      }
    } catch (error) {
      this.#said.promise.catch(() => {}); // `finish` may never be called
      this.#said.reject(error);
      throw error;
    }
  }

  #take({ msgid, cid, errno, errmsg, req, retryAfterMs }: Received): void {
    if (typeof cid !== "string") return;
    if (msgid === MSGID.CHAT_ACK) {
      if (this.#outbox.settle(cid) === undefined) return;
      this.times.push(performance.now() - (this.#began.get(cid) ?? 0));
      this.acknowledged.add(cid);
    } else if (PASSING.has(errno)) {
      if (!this.#outbox.refuse(cid, Number(req))) return;
      this.putOff++;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#send().catch(() => {}); // closed: `read` says so
      }, Number(retryAfterMs));
    } else {
      this.#outbox.settle(cid);
      this.refused.push(`${cid} was refused: errno ${errno}, ${errmsg}`);
    }
    this.#look();
  }

  async #send(): Promise<void> {
    if (this.#timer !== undefined) return;
    const now = Date.now();
    for (let entry = this.#outbox.take(now); entry !== undefined; entry = this.#outbox.take(now)) {
      const { chat: { cid, toid, msg }, attempts } = entry;
      await this.#peer.send({ msgid: MSGID.ONE_CHAT, toid, cid, msg, req: attempts });
    }
  }

  #look(): void {
    if (this.#isFinishing && this.#outbox.size === 0) this.#said.resolve();
  }
}

/**
 * The steps of traced messages as one session worker sees them, from the socket that brought a
 * message to the sockets that took it. Costs nothing where nothing is traced.
 */

import type { Message, UserId } from "../ports.ts";
import type { Session } from "../sessions/session.ts";
import type { MessageTracer } from "../observe/tracing.ts";

/** A traced push that its socket has yet to take. */
interface Writing {
  readonly push: number;
  readonly message: Message;
  readonly user: UserId;
  readonly since: number;
}

/** Most traced pushes of one connection that wait for their socket; further ones have no "write". */
const MAX_WRITING = 64;

/** See the module's header. Times are epoch ms. */
export class MessageSteps {
  readonly #tracer: MessageTracer;
  readonly #now: () => number;
  readonly #about: { readonly node: string; readonly worker: number };
  readonly #writing = new Map<number, Writing[]>();

  constructor(
    tracer: MessageTracer,
    now: () => number,
    about: { readonly node: string; readonly worker: number },
  ) {
    this.#tracer = tracer;
    this.#now = now;
    this.#about = about;
  }

  /** From the reading of its frame to its handling. */
  received({ mid, from, ts }: Message, readAt: number): void {
    this.#tracer.step(mid, "receive", Math.min(readAt, ts), ts, { ...this.#about, user: from });
  }

  /** A step that ends now; it began when the message was handled. */
  done(name: "store" | "push" | "receipt", { mid, ts }: Message, user: UserId): void {
    this.#tracer.step(mid, name, ts, this.#now(), { ...this.#about, user });
  }

  /**
   * A push goes to its socket under `number`; 0: nobody else asks for that.
   * @returns The number under which its writing is to be reported; 0: it need not be.
   */
  pushed(session: Session, message: Message, number: number): number {
    const { conn, user } = session;
    this.done("push", message, user);
    if (!this.#tracer.traces(message.mid)) return number;
    const waiting = this.#writing.get(conn) ?? [];
    if (waiting.length >= MAX_WRITING) return number;
    const push = number === 0 ? session.nextPushNumber() : number;
    waiting.push({ push, message, user, since: this.#now() });
    this.#writing.set(conn, waiting);
    return push;
  }

  /** The socket has taken every push up to this number. */
  written(conn: number, push: number): void {
    const waiting = this.#writing.get(conn);
    if (waiting === undefined) return;
    const left = waiting.filter((each) => each.push > push);
    for (const { push: number, message, user, since } of waiting) {
      if (number > push) continue;
      this.#tracer.step(message.mid, "write", since, this.#now(), { ...this.#about, user });
    }
    if (left.length === 0) this.#writing.delete(conn);
    else this.#writing.set(conn, left);
  }

  /** The connection has gone. */
  forget(conn: number): void {
    this.#writing.delete(conn);
  }
}

/** The sessions of one worker: by connection, and by the user who is logged in on it. */

import type { UserId } from "../ports.ts";
import type { Session } from "../sessions/session.ts";

/** See the module's header. */
export class SessionTable {
  readonly #byConn = new Map<number, Session>();
  readonly #byUser = new Map<UserId, Session>();

  /** Sessions, logged in or not. */
  get size(): number {
    return this.#byConn.size;
  }

  /** Frames that wait for their session. */
  get waitingFrames(): number {
    let waiting = 0;
    for (const session of this.#byConn.values()) waiting += session.mailbox.length;
    return waiting;
  }

  /** The session of a connection. */
  get(conn: number): Session | undefined {
    return this.#byConn.get(conn);
  }

  /** The session that a user is logged in on, if that is here. */
  ofUser(user: UserId): Session | undefined {
    return this.#byUser.get(user);
  }

  /** All sessions that somebody is logged in on. */
  loggedIn(): Iterable<Session> {
    return this.#byUser.values();
  }

  /** A connection was opened. */
  add(session: Session): void {
    this.#byConn.set(session.conn, session);
  }

  /** A connection was closed. What its user is told ends with {@linkcode leave}. */
  remove(session: Session): void {
    this.#byConn.delete(session.conn);
  }

  /** What is for a user comes to this session from now on. */
  enter(session: Session): void {
    if (session.user !== 0) this.#byUser.set(session.user, session);
  }

  /** It comes to this session no longer, unless another one has taken its place. */
  leave(session: Session): void {
    if (this.#byUser.get(session.user) === session) this.#byUser.delete(session.user);
  }
}

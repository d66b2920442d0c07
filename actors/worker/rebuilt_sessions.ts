/**
 * Sessions that a new worker took over from a dead one. While they had no worker another connection
 * may have taken their users' places, and nobody told them who came and went.
 *
 * Invariant: a session stays here until both are made good: its place is looked up once the replica
 * is complete, and whom it watches is read until that works.
 */

import type { Host } from "../handlers/types.ts";
import type { ContactsRow } from "../ports.ts";
import type { Session } from "../sessions/session.ts";

/** What rebuilt sessions need of their worker. */
export interface RebuiltPorts {
  readonly host: Pick<Host, "presence" | "replica" | "store">;
  /** Another connection has taken the session's place. */
  readonly evict: (session: Session) => void;
  readonly log: (text: string, error: unknown, conn: number) => void;
}

/** See the module's header. */
export class RebuiltSessions {
  readonly #ports: RebuiltPorts;
  /** It is not known yet whether they still hold their users' entries. */
  readonly #unplaced = new Set<Session>();
  /** They are told of nobody's coming and going yet. */
  readonly #unwatched = new Set<Session>();

  constructor(ports: RebuiltPorts) {
    this.#ports = ports;
  }

  /** A session was rebuilt, with somebody logged in. @returns False when it was evicted. */
  add(session: Session): boolean {
    if (!this.#ports.host.replica.complete) this.#unplaced.add(session);
    else if (!this.#isInPlace(session)) return false;
    if (session.v === 2) {
      this.#unwatched.add(session);
      this.retry();
    }
    return true;
  }

  /** The replica has become complete. */
  locationsKnown(): void {
    for (const session of this.#unplaced) this.#isInPlace(session);
    this.#unplaced.clear();
    this.retry();
  }

  /** Reads whom they watch, of those where that failed or had to wait. */
  retry(): void {
    if (!this.#ports.host.replica.complete) return;
    for (const session of this.#unwatched) this.#rewatch(session);
    this.#unwatched.clear();
  }

  #isInPlace(session: Session): boolean {
    const { host, evict } = this.#ports;
    if (session.user === 0 || session.closed) return true;
    if (host.replica.location(session.user) === session.conn) return true;
    evict(session);
    return false;
  }

  #rewatch(session: Session): void {
    const { user } = session;
    const { store } = this.#ports.host;
    store.call("contacts", user).then((contacts) => {
      if (session.user === user && !session.closed) this.#watch(session, contacts);
    }, (error) => {
      this.#ports.log("contacts of a rebuilt session", error, session.conn);
      if (session.user === user && !session.closed) this.#unwatched.add(session);
    });
  }

  #watch(session: Session, contacts: ContactsRow): void {
    const { presence } = this.#ports.host;
    presence.watch(session, contacts.friends.map((f) => f.id));
    for (const g of contacts.groups) presence.watch(session, g.users.map((u) => u.id));
    presence.tellAll(session); // nobody told it what changed while there was no worker
  }
}

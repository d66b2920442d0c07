/**
 * Who in this worker is to be told when a user comes or goes. Changes are gathered for a moment and
 * only a state that differs from the last one told goes out, so that a flapping connection or a
 * reconnect storm costs each watcher one message, not hundreds.
 */

import type { Clock, UserId } from "../ports.ts";
import type { Session } from "./session.ts";

/** How long changes are gathered, ms. */
const GATHER_MS = 250;
/** Most users one session watches: friends first, then fellow members. */
export const MAX_WATCHED_USERS = 2_000;

/** See the module's header. */
export class PresenceWatch {
  readonly #clock: Clock;
  readonly #tell: (session: Session, user: UserId, online: boolean) => void;
  readonly #isOnline: (user: UserId) => boolean;
  readonly #watchers = new Map<UserId, Set<Session>>();
  /** User ⇒ the state last told; undefined when not all watchers were told the same. */
  readonly #changed = new Map<UserId, boolean | undefined>();
  #armed = false;

  constructor(
    clock: Clock,
    isOnline: (user: UserId) => boolean,
    tell: (session: Session, user: UserId, online: boolean) => void,
  ) {
    this.#clock = clock;
    this.#isOnline = isOnline;
    this.#tell = tell;
  }

  /** Users that somebody here watches. */
  get size(): number {
    return this.#watchers.size;
  }

  /** Tells `session` of these users from now on. */
  watch(session: Session, users: Iterable<UserId>): void {
    for (const user of users) {
      if (session.watching.length >= MAX_WATCHED_USERS) return;
      if (user === session.user) continue;
      let watchers = this.#watchers.get(user);
      if (watchers === undefined) this.#watchers.set(user, watchers = new Set());
      // It is being told the state of now, others were told that of before the change.
      if (this.#changed.has(user)) this.#changed.set(user, undefined);
      if (watchers.has(session)) continue;
      watchers.add(session);
      session.watching.push(user);
    }
  }

  /** Tells `session` how each user it watches is now. */
  tellAll(session: Session): void {
    for (const user of session.watching) this.#tell(session, user, this.#isOnline(user));
  }

  /** Tells `session` nothing more of `user`; of nobody when that is undefined. */
  unwatch(session: Session, only?: UserId): void {
    const leaving = only === undefined
      ? session.watching
      : session.watching.filter((user) => user === only);
    for (const user of leaving) {
      const watchers = this.#watchers.get(user);
      watchers?.delete(session);
      if (watchers?.size === 0) this.#watchers.delete(user);
    }
    session.watching = only === undefined ? [] : session.watching.filter((user) => user !== only);
  }

  /** A user came or went. */
  changed(user: UserId, online: boolean): void {
    if (!this.#watchers.has(user)) return;
    if (!this.#changed.has(user)) this.#changed.set(user, !online);
    if (this.#armed) return;
    this.#armed = true;
    this.#clock.after(GATHER_MS, () => {
      this.#armed = false;
      for (const [id, told] of this.#changed) {
        const now = this.#isOnline(id);
        if (now === told) continue; // back where it was
        for (const session of this.#watchers.get(id) ?? []) this.#tell(session, id, now);
      }
      this.#changed.clear();
    });
  }
}

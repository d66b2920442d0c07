/**
 * Messages that the commit log has and the tables do not, in memory: what is acknowledged and not yet
 * filed, oldest first, and who has received it. No SQL.
 *
 * Invariant: it holds exactly the messages of the log's rows, so that reads which look here and in
 * the tables see every message once.
 */

import type { Mid, UserId } from "../../ports.ts";
import type { RecordedMessage } from "../../record.ts";
import type { CidHash } from "./cid_filter.ts";

/** What an entry costs beside its record, bytes, about. */
const ENTRY_BYTES = 300;

/** One message that has yet to be filed. */
export class Unfiled {
  readonly message: RecordedMessage;
  readonly hash: CidHash;
  /** Its number, counted since the store was opened. */
  readonly n: number;
  /** Everybody in the group when it was committed; undefined for a message to one user. */
  readonly members: ReadonlySet<UserId> | undefined;
  /** Another one whose hash begins alike. */
  next: Unfiled | undefined;
  #isReceived = false;
  #received: Set<UserId> | undefined;

  constructor(
    message: RecordedMessage,
    hash: CidHash,
    n: number,
    members: ReadonlySet<UserId> | undefined,
  ) {
    this.message = message;
    this.hash = hash;
    this.n = n;
    this.members = members;
  }

  /** Whether `user` has yet to receive it. */
  waitsFor(user: UserId): boolean {
    const { from, toid } = this.message;
    if (this.members === undefined) return user === toid && !this.#isReceived;
    return user !== from && this.members.has(user) && !(this.#received?.has(user) ?? false);
  }

  /** `user` has received it, or is not to wait for it. @returns Whether he did wait. */
  received(user: UserId): boolean {
    if (!this.waitsFor(user)) return false;
    if (this.members === undefined) this.#isReceived = true;
    else (this.#received ??= new Set()).add(user);
    return true;
  }

  /** Who has yet to receive it. */
  waiting(): UserId[] {
    const { from, toid } = this.message;
    if (this.members === undefined) return this.#isReceived ? [] : [toid];
    const users: UserId[] = [];
    for (const user of this.members) {
      if (user !== from && !(this.#received?.has(user) ?? false)) users.push(user);
    }
    return users;
  }
}

/** See the module's header. */
export class UnfiledMessages {
  /** In the order of the log; those before `#start` are filed. */
  #queue: Unfiled[] = [];
  #start = 0;
  readonly #byMid = new Map<Mid, Unfiled>();
  readonly #byHash = new Map<number, Unfiled>();
  #bytes = 0;

  get size(): number {
    return this.#byMid.size;
  }

  /** Memory, about. */
  get bytes(): number {
    return this.#bytes;
  }

  add(entry: Unfiled): void {
    const { message: { mid, start, end }, hash } = entry;
    this.#queue.push(entry);
    this.#byMid.set(mid, entry);
    entry.next = this.#byHash.get(hash.a);
    this.#byHash.set(hash.a, entry);
    this.#bytes += ENTRY_BYTES + end - start;
  }

  /** The last `count` that were added are taken back: their commit failed. */
  takeBack(count: number): void {
    for (let i = 0; i < count; i++) {
      const entry = this.#queue.pop();
      if (entry !== undefined) this.#forget(entry);
    }
  }

  ofMid(mid: Mid): Unfiled | undefined {
    return this.#byMid.get(mid);
  }

  ofCid(sender: UserId, cid: string, hash: CidHash): Unfiled | undefined {
    let entry = this.#byHash.get(hash.a);
    while (entry !== undefined && (entry.message.cid !== cid || entry.message.from !== sender)) {
      entry = entry.next;
    }
    return entry;
  }

  /** The oldest, at most so many. */
  oldest(count: number): Unfiled[] {
    return this.#queue.slice(this.#start, this.#start + count);
  }

  /** These, the oldest, are filed. */
  filed(entries: readonly Unfiled[]): void {
    for (const entry of entries) this.#forget(entry);
    this.#start += entries.length;
    if (this.#start < this.#queue.length && this.#start < 1_024) return;
    this.#queue = this.#queue.slice(this.#start);
    this.#start = 0;
  }

  /** Those for which `want` is true, in the order of the log. Looks at every one: 5 ns each. */
  select(want: (entry: Unfiled) => boolean): Unfiled[] {
    const found: Unfiled[] = [];
    for (let i = this.#start; i < this.#queue.length; i++) {
      const entry = this.#queue[i];
      if (entry !== undefined && want(entry)) found.push(entry);
    }
    return found;
  }

  #forget(entry: Unfiled): void {
    const { message: { mid, start, end }, hash } = entry;
    this.#byMid.delete(mid);
    this.#bytes -= ENTRY_BYTES + end - start;
    const first = this.#byHash.get(hash.a);
    if (first === entry) {
      if (entry.next === undefined) this.#byHash.delete(hash.a);
      else this.#byHash.set(hash.a, entry.next);
      return;
    }
    for (let at = first; at !== undefined; at = at.next) {
      if (at.next === entry) at.next = entry.next;
    }
  }
}

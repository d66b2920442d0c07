/**
 * Keeps pushes in order: which message of each sender in each conversation a session was pushed
 * last, and so which one may follow (G2, G3).
 *
 * Invariant: `follow` is called with every message that is pushed, live or read. A message that is
 * not pushed is not followed: what names it as its predecessor waits for it.
 */

import { MAX_RESENT_MS, midAt } from "../hlc.ts";
import type { GroupId, Message, Mid, UserId } from "../ports.ts";
import type { PushWindow } from "./push_window.ts";

/** Conversations whose last message is remembered; an older one costs a read when it goes on. */
const MAX_FOLLOWED = 512;
/**
 * A message stamped longer ago than this is committed or refused, ms: twice the longest time a store
 * may take to answer, after the earliest that one may be stamped.
 */
export const SETTLED_MS = MAX_RESENT_MS + 30_000;

/** See the module's header. */
export class PushOrder {
  readonly #window: PushWindow;
  #self: UserId = 0;
  #settledBefore: Mid = "";
  // Made when first used: most sessions are idle, and each collection costs 200 bytes.
  #followed: Map<number, Mid> | undefined;
  #newest: Map<GroupId, { from: UserId; mid: Mid }> | undefined;

  /** @param window Knows single messages that were pushed, whatever came after them. */
  constructor(window: PushWindow) {
    this.#window = window;
  }

  /** `self` is logged in from `now` (epoch ms) on. */
  begin(self: UserId, now: number): void {
    this.#self = self;
    this.#settledBefore = midAt(now - SETTLED_MS);
  }

  /** Nobody is logged in. */
  end(): void {
    this.#followed = undefined;
    this.#newest = undefined;
  }

  /** Where a push stands in its sender's messages to its conversation. */
  position(m: Message): "next" | "seen" | "gap" {
    const last = this.#followed?.get(conversationKey(m));
    // Sent again it may have an earlier id than its lost first attempt: pending rows tell.
    if (last !== undefined && m.mid <= last) return this.#window.has(m.mid) ? "seen" : "gap";
    if (m.prev !== last && !this.#isSettled(m.prev, undefined)) return "gap";
    const { after } = m;
    if (after === undefined || after.from === this.#self) return "next";
    const answered = this.#followed?.get(groupKey(m.groupid, after.from));
    return this.#isSettled(after.mid, answered) ? "next" : "gap";
  }

  /** A message is pushed. */
  follow(m: Message): void {
    const key = conversationKey(m);
    const followed = this.#followed ??= new Map();
    if (followed.size >= MAX_FOLLOWED && !followed.has(key)) {
      for (const oldest of followed.keys()) {
        followed.delete(oldest);
        break;
      }
    }
    const last = followed.get(key);
    if (last === undefined || m.mid > last) followed.set(key, m.mid);
    if (m.groupid === 0 || m.from === this.#self) return;
    const newest = this.#newest ??= new Map();
    const known = newest.get(m.groupid);
    if (known === undefined || known.mid < m.mid) {
      newest.set(m.groupid, { from: m.from, mid: m.mid });
    }
  }

  /** The newest message of a group that was pushed, for what is said after it. */
  newestIn(groupid: GroupId): { from: UserId; mid: Mid } | undefined {
    return this.#newest?.get(groupid);
  }

  /**
   * Whether nothing that the session is to see of a sender up to `mid` can still come: it was
   * pushed, or is so old that the pending rows had it. Otherwise it may be on its way.
   */
  #isSettled(mid: Mid, last: Mid | undefined): boolean {
    if (last !== undefined && mid <= last) return true;
    return mid < this.#settledBefore || this.#window.has(mid);
  }
}

/**
 * One number for (sender, conversation) as a recipient sees it. Should two ever share a number
 * (groups beyond 2²¹), a gap is seen where none is: one read more, nothing else.
 */
function conversationKey(m: Message): number {
  return m.groupid === 0 ? m.from : groupKey(m.groupid, m.from);
}

function groupKey(groupid: GroupId, from: UserId): number {
  return -(groupid * 0x1_0000_0000 + from);
}

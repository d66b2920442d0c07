/**
 * What one session's user has sent: the last message of each conversation, which the next one there
 * follows, and a chat that was put off, which has to come again before any later one (G3).
 */

import type { Refused } from "../runtime/lane.ts";
import type { GroupId, Mid, UserId } from "../ports.ts";

/** How long a client has to send a chat again that was put off before a later one ends its session, ms. */
const REFUSED_FOR_MS = 10_000;

/**
 * Ids of chats remembered, in two generations: a client has no more on their way. What is remembered
 * is a number of 32 bits each: text would hold on to the block of bytes that it was read from. Of two
 * that have the same one the later is taken for a repeat, which costs it the wait for its commit.
 */
const MAX_CIDS = 512;

/** See the module's header. */
export class SentChats {
  /** After a chat was put off: its cid, which has to come again before any later one. */
  refused: Refused | undefined;
  #cids: Set<number> | undefined;
  #oldCids: Set<number> | undefined;
  /** Made when first used: most sessions are idle, and a collection costs 200 bytes. */
  #last: Map<number, Mid> | undefined;

  /**
   * Last `mid` that was stamped in a conversation; undefined when it has to be read.
   * @param target See {@linkcode targetKey}.
   */
  last(target: number): Mid | undefined {
    return this.#last?.get(target);
  }

  /** A message was stamped. */
  stamped(target: number, mid: Mid): void {
    (this.#last ??= new Map()).set(target, mid);
  }

  /**
   * The chat of frame `seq` was put off (TRY_LATER): later ones wait until it has come again.
   * Outcomes do not come in the order of the frames: the earliest one counts.
   *
   * What was stamped after it was put off with it. Were that still taken for its sender's last
   * message, the chat that comes again would sort after it, and after replies to its own first
   * attempt (G3): the last message that is stored has to be read.
   */
  putOff(cid: string, seq: number, now: number): void {
    this.#last = undefined;
    if (this.refused !== undefined && this.refused.seq < seq) return;
    this.refused = { cid, seq, until: now + REFUSED_FOR_MS };
  }

  /**
   * Whether a chat of this `cid` came lately, as far as is remembered; remembers it. One that comes again
   * without saying so is not pushed again: v1 clients would show it twice.
   */
  isRepeated(cid: string): boolean {
    const hash = hashOf(cid);
    if (this.#cids?.has(hash) || this.#oldCids?.has(hash)) return true;
    if (this.#cids !== undefined && this.#cids.size >= MAX_CIDS) {
      this.#oldCids = this.#cids;
      this.#cids = undefined;
    }
    (this.#cids ??= new Set()).add(hash);
    return false;
  }

  /** Nobody is logged in any more. */
  end(): void {
    this.#cids = undefined;
    this.#oldCids = undefined;
    this.#last = undefined;
    this.refused = undefined;
  }
}

/** FNV-1a over UTF-16 units, mixed once more. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return hash ^ (hash >>> 15);
}

/** One number for a conversation as its sender sees it. */
export function targetKey(toid: UserId, groupid: GroupId): number {
  return groupid === 0 ? toid : -groupid;
}

/**
 * What one session's user has sent: the last message of each conversation, which the next one there
 * follows, and a chat that was put off, which has to come again before any later one (G3).
 */

import type { Refused } from "../runtime/lane.ts";
import type { GroupId, Mid, UserId } from "../ports.ts";

/** How long a client has to send a chat again that was put off before a later one ends its session, ms. */
const REFUSED_FOR_MS = 10_000;

/** See the module's header. */
export class SentChats {
  /** After a chat was put off: its cid, which has to come again before any later one. */
  refused: Refused | undefined;
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

  /** Nobody is logged in any more. */
  end(): void {
    this.#last = undefined;
    this.refused = undefined;
  }
}

/** One number for a conversation as its sender sees it. */
export function targetKey(toid: UserId, groupid: GroupId): number {
  return groupid === 0 ? toid : -groupid;
}

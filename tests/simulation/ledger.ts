/**
 * What clients did and saw, as they themselves would tell it. Knows nothing of the server; the
 * judge (judge.ts) compares it with what must hold.
 */

import type { GroupId, Mid, UserId } from "../../actors/ports.ts";

/** A conversation as its sender addresses it. */
export interface Target {
  /** 0: to a group. */
  readonly toid: UserId;
  /** 0: to a user. */
  readonly groupid: GroupId;
}

/** A chat somebody wanted to send. Its text on the wire is its key. */
export interface Chat extends Target {
  /** `from:n`. */
  readonly key: string;
  readonly from: UserId;
  /** Counts the sender's chats. */
  readonly n: number;
  /** "" for v1. */
  readonly cid: string;
  readonly at: number;
  /** What it replies to, and the `mid` under which its sender saw that. */
  readonly cause: { readonly key: string; readonly mid: Mid } | undefined;
  /** How many replies led here. */
  readonly depth: number;
  /** From its CHAT_ACK. */
  ackedMid: Mid | undefined;
  /** From an ERROR that no retry can change. */
  refusedErrno: number | undefined;
}

/** A chat as somebody saw it, after the client's own dedupe. */
export interface Sight {
  readonly key: string;
  /** "" for a v1 client. */
  readonly mid: Mid;
  readonly at: number;
}

/** See the module's header. */
export class Ledger {
  readonly chats = new Map<string, Chat>();
  /** User ⇒ what was handed to the application, in order. */
  readonly seen = new Map<UserId, Sight[]>();
  /** What must not happen and was noticed while it did. */
  readonly defects: string[] = [];

  /** Remembers a chat that a client has taken on. */
  wrote(chat: Chat): void {
    this.chats.set(chat.key, chat);
  }

  saw(user: UserId, sight: Sight): void {
    const sights = this.seen.get(user);
    if (sights === undefined) this.seen.set(user, [sight]);
    else sights.push(sight);
  }

  acked(key: string, mid: Mid): void {
    const chat = this.chats.get(key);
    if (chat === undefined) this.defects.push(`an ack for ${key}, which nobody sent`);
    else if (chat.refusedErrno !== undefined) {
      this.defects.push(`${key} was acknowledged after it was refused for good`);
    } else if (chat.ackedMid !== undefined && chat.ackedMid !== mid) {
      this.defects.push(`${key} was acknowledged as ${chat.ackedMid} and as ${mid}`);
    } else chat.ackedMid = mid;
  }
}

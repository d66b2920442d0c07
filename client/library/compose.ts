/**
 * Makes a chat out of a text: gives it an id, checks its size and its recipient. No I/O.
 */

import { MAX_FRAME_BYTES, MAX_TEXT_UNITS, MID_LENGTH } from "@chat/wire/limits.ts";
import { RequestError } from "./errors.ts";
import type { Target } from "./events.ts";
import type { FirstSending, Outgoing } from "./outbox.ts";
import { encodeChat } from "./sender.ts";

/** As many characters as can be said of a first sending. */
const LONGEST_FIRST: FirstSending = { at: Number.MAX_SAFE_INTEGER, seen: "Z".repeat(MID_LENGTH) };

/** Makes the chats of one run of a client. */
export class Composer {
  readonly #run = randomText();
  #cids = 0;

  /**
   * @param now Epoch ms.
   * @throws {RequestError} errno 4 for an empty text, 8 for one that fits no frame.
   */
  compose(from: number, target: Target, msg: string, now: number): Outgoing {
    const chat: Outgoing = {
      cid: this.#newCid(now),
      from,
      toid: target.kind === "user" ? target.id : 0,
      groupid: target.kind === "group" ? target.id : 0,
      // JSON carries lone surrogates, UTF-8 does not.
      msg: msg.toWellFormed(),
      at: now,
    };
    checkSize(chat);
    return chat;
  }

  /** An id that grows with time: the server's index of them then grows at one end. */
  #newCid(now: number): string {
    const time = now.toString(36).padStart(9, "0");
    return `${time}-${this.#run}-${(++this.#cids).toString(36)}`;
  }
}

/** @throws {RequestError} errno 4 for an empty text, 8 for one that fits no frame. */
function checkSize(chat: Outgoing): void {
  if (chat.msg.length === 0) throw new RequestError(4, "an empty message");
  if (chat.msg.length > MAX_TEXT_UNITS) {
    throw new RequestError(8, `a message has at most ${MAX_TEXT_UNITS} characters`);
  }
  // At most 3 bytes a unit, 6 when escaped: only a text that could pass the limit is measured.
  if (chat.msg.length * 6 + 256 < MAX_FRAME_BYTES) return;
  const longest = encodeChat(chat, Number.MAX_SAFE_INTEGER, LONGEST_FIRST);
  const bytes = new TextEncoder().encode(longest).length;
  if (bytes > MAX_FRAME_BYTES) {
    throw new RequestError(8, `this message takes ${bytes} bytes, at most ${MAX_FRAME_BYTES} pass`);
  }
}

/** 64 random bits: two runs of a client never share a cid. */
function randomText(): string {
  const words = crypto.getRandomValues(new Uint32Array(2));
  return Array.from(words, (word) => word.toString(36).padStart(7, "0")).join("");
}

/**
 * msgid ⇒ handler, per protocol version: the rows of every feature. A msgid without one is unknown to
 * that version.
 */

import { ACCOUNT_REQUESTS } from "./account.ts";
import { CHAT_REQUESTS } from "./chat.ts";
import { CONTACT_REQUESTS } from "./contacts.ts";
import { LIFE_REQUESTS } from "./life.ts";
import type { HandlerEntry, Requests } from "./types.ts";

const FEATURES: readonly Requests[] = [
  ACCOUNT_REQUESTS,
  CHAT_REQUESTS,
  CONTACT_REQUESTS,
  LIFE_REQUESTS,
];

/** Handlers by version and msgid. */
export const HANDLERS: Readonly<Record<1 | 2, ReadonlyMap<number, HandlerEntry>>> = {
  1: new Map(FEATURES.flatMap(({ both = [], v1 = [] }) => [...both, ...v1])),
  2: new Map(FEATURES.flatMap(({ both = [], v2 = [] }) => [...both, ...v2])),
};

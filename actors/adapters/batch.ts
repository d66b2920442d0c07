/**
 * What the group commits of both databases share: which messages they refuse, and receipts that come
 * in the same batch as their message.
 */

import type { Append, AppendOutcome, Mid, Receipt, UserId } from "../ports.ts";

/** After every mid: their alphabet ends with Z. */
export const AFTER_ALL_MIDS = "~";

export const NO_SUCH_TARGET: AppendOutcome = { status: "no_such_target" };
export const NOT_PERMITTED: AppendOutcome = { status: "not_permitted" };

/** Which of the batch's own messages have receipts in it: mid ⇒ users; undefined when none has. */
export function receivedHere(
  appends: readonly Append[],
  receipts: readonly Receipt[],
): Map<Mid, UserId[]> | undefined {
  if (appends.length === 0 || receipts.length === 0) return undefined;
  let oldest = AFTER_ALL_MIDS;
  for (const { message } of appends) if (message.mid < oldest) oldest = message.mid;
  let found: Map<Mid, UserId[]> | undefined;
  for (const { user, mid } of receipts) {
    if (mid < oldest) continue; // most receipts are for older messages
    found ??= new Map();
    const users = found.get(mid);
    if (users === undefined) found.set(mid, [user]);
    else users.push(user);
  }
  return found;
}

/**
 * Who has yet to receive a message of a large group, as one text: a row a message instead of one a
 * member, so that what a group costs a commit hardly grows with it. Pure.
 *
 * The text is base64 of the ids in ascending order, each as its difference to the one before it in
 * groups of seven bits, the lowest first: one to two bytes a member.
 */

import { MAX_RESENT_MS, midAt } from "../hlc.ts";
import type { Mid, UserId } from "../ports.ts";

/** Groups of more members are large. Measured: below, rows of their own are as cheap. */
export const CROWD = 64;

/** Rows of a group looked through at a time for one member. */
export const CROWD_PAGE = 64;
/** So many that hold nothing for a member are worth remembering where he has got to. */
export const WORTH_REMEMBERING = 128;
/** A message may be stored long after its id was made: sent again, or on a slow way. */
const LATE_MS = MAX_RESENT_MS + 60_000;

/** The latest message before which nothing more is stored, at `now` (epoch ms). */
export function settledBefore(now: number): Mid {
  return midAt(now - LATE_MS);
}

/** @param users Ids in ascending order. */
export function encodeUsers(users: readonly UserId[]): string {
  const bytes = new Uint8Array(users.length * 5);
  let length = 0;
  let last = 0;
  for (const user of users) {
    let step = user - last;
    last = user;
    while (step > 0x7f) {
      bytes[length++] = 0x80 | (step & 0x7f);
      step = Math.floor(step / 0x80);
    }
    bytes[length++] = step;
  }
  return bytes.subarray(0, length).toBase64();
}

/** The ids of {@linkcode encodeUsers}. */
export function decodeUsers(text: string): UserId[] {
  const users: UserId[] = [];
  let [last, step, scale] = [0, 0, 1];
  for (const byte of Uint8Array.fromBase64(text)) {
    step += (byte & 0x7f) * scale;
    scale *= 0x80;
    if (byte > 0x7f) continue;
    users.push(last += step);
    [step, scale] = [0, 1];
  }
  return users;
}

/** Whether `user` is among the ids. */
export function hasUser(text: string, user: UserId): boolean {
  let [last, step, scale] = [0, 0, 1];
  for (const byte of Uint8Array.fromBase64(text)) {
    step += (byte & 0x7f) * scale;
    scale *= 0x80;
    if (byte > 0x7f) continue;
    last += step;
    if (last >= user) return last === user;
    [step, scale] = [0, 1];
  }
  return false;
}

/** The ids without `gone`; undefined when none of those was there. */
export function withoutUsers(
  users: readonly UserId[],
  gone: ReadonlySet<UserId>,
): UserId[] | undefined {
  const left = users.filter((user) => !gone.has(user));
  return left.length === users.length ? undefined : left;
}

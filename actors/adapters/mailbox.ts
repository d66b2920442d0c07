/**
 * Who may still write to somebody for whom much waits already. Pure; the databases' adapters count.
 *
 * Shares of a mailbox of `max` messages: each friend of its owner has as much for himself; each
 * stranger may have as much waiting as is still free, and so may groups together: one alone gets half
 * of it, of n who take what they can each 1/(n+1), and as much is always left for whoever comes next.
 * In a small mailbox everybody has ten at least. Strangers and groups fill it no further than `max`;
 * friends are let in beyond it, so that nobody can shut them out, up to FRIENDS_FACTOR times `max`.
 */

import type { AppendOutcome, UserId } from "../ports.ts";

/** What waits for one user. */
export interface Mailbox {
  /** One-to-one messages by their sender. */
  readonly of: Map<UserId, number>;
  inGroups: number;
  total: number;
  /** Stranger who found no room ⇒ until when he is refused, epoch ms; the earliest first. */
  readonly closed: Map<UserId, number>;
  /** The latest of those; 0 for none. */
  closedUntil: number;
}

/** The sender has used the largest share there is: another message to this recipient is refused. */
export const MAILBOX_FULL: AppendOutcome = { status: "mailbox_full" };
/** The sender has not, and there is no room: the message may come again. */
export const MAILBOX_BUSY: AppendOutcome = { status: "mailbox_busy" };

const FRIEND_PART = 1;
/** By default 5,000: a fast sender is far ahead of a recipient who reads slowly (1,024 at a time). */
const STRANGER_PART = 2;
const GROUP_PART = 2;
const LEAST_SHARE = 10;
const FRIENDS_FACTOR = 4;
/**
 * How long a mailbox stays closed to whom it refused, ms: longer than a sender's next messages can
 * be on their way before he knows, so that none of them overtakes the one that was refused (G3).
 */
const CLOSED_MS = 10_000;

/** A mailbox in which nothing waits. */
export function emptyMailbox(): Mailbox {
  return { of: new Map(), inGroups: 0, total: 0, closed: new Map(), closedUntil: 0 };
}

/** Counts `count` messages; `sender` 0 for a group's. */
export function count(mailbox: Mailbox, sender: UserId, count: number): void {
  mailbox.total += count;
  if (sender === 0) {
    mailbox.inGroups += count;
    return;
  }
  const now = (mailbox.of.get(sender) ?? 0) + count;
  if (now > 0) mailbox.of.set(sender, now);
  else mailbox.of.delete(sender);
}

/** Below so many nobody is refused, whoever sent them. */
export function freeFor(max: number): number {
  return shareOf(max, STRANGER_PART);
}

function shareOf(max: number, part: number): number {
  return Math.min(max, Math.max(LEAST_SHARE, Math.ceil(max / part)));
}

/**
 * Whether there is room for a message of one user.
 *
 * @param max Messages that may wait.
 * @param isFriend The owner lists the sender as a friend.
 * @param now Epoch ms.
 * @param closes Whether a stranger who finds no room is refused for a while, however much is read.
 * @returns undefined when there is; else why not.
 */
export function refusalOf(
  mailbox: Mailbox,
  max: number,
  sender: UserId,
  isFriend: boolean,
  now: number,
  closes = true,
): AppendOutcome | undefined {
  const own = mailbox.of.get(sender) ?? 0;
  if (own >= shareOf(max, isFriend ? FRIEND_PART : STRANGER_PART)) return MAILBOX_FULL;
  if (isFriend) return mailbox.total < max * FRIENDS_FACTOR ? undefined : MAILBOX_BUSY;
  if (now < (mailbox.closed.get(sender) ?? 0)) return MAILBOX_BUSY;
  if (isWithinShare(mailbox, max, own)) return undefined;
  if (closes) close(mailbox, sender, now);
  return MAILBOX_BUSY;
}

/** As much as is still free: whoever has less waiting is served before whoever has more. */
function isWithinShare({ total }: Mailbox, max: number, own: number): boolean {
  return total < max && own < Math.max(LEAST_SHARE, max - total);
}

function close(mailbox: Mailbox, sender: UserId, now: number): void {
  const { closed } = mailbox;
  for (const [user, until] of closed) {
    if (now < until) break;
    closed.delete(user);
  }
  closed.delete(sender);
  mailbox.closedUntil = now + CLOSED_MS;
  closed.set(sender, mailbox.closedUntil);
}

/** Whether there is room for a group's message; without, its reader finds it in the history. */
export function takesFromGroups(mailbox: Mailbox, max: number): boolean {
  return mailbox.inGroups < shareOf(max, GROUP_PART) &&
    isWithinShare(mailbox, max, mailbox.inGroups);
}

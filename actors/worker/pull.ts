/**
 * Reads a session's pending rows and pushes them in order, until nothing that was held meanwhile
 * lacks its predecessor. One pull of a session at a time; every step has a deadline.
 */

import { MAX_UNRECEIPTED } from "@chat/wire/limits.ts";
import { midAt } from "../hlc.ts";
import type { Clock, Message, Mid, UserId } from "../ports.ts";
import { backoffMs } from "../runtime/runtime.ts";
import { Delivery } from "../sessions/delivery.ts";
import { SETTLED_MS } from "../sessions/push_order.ts";
import type { Session } from "../sessions/session.ts";

/** Rows of one read. */
const PAGE_ROWS = 200;
/** How long rows are kept back for a held push that they may answer, ms: senders come back sooner. */
const PATIENCE_MS = 3_000;
/** First pause before reading again for a message that is not committed yet, ms; it doubles. */
const FIRST_PAUSE_MS = 5;
const MAX_PAUSE_MS = 1_000;
/** Pause after the first read that failed, ms; it doubles, with jitter, up to the cap. */
const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 10_000;
/** How long a held push may lack its predecessor, ms: longer than a store may take to commit. */
const GIVE_UP_MS = 15_000;

/** What pulling needs. */
export interface PullPorts {
  readonly clock: Clock;
  pending(user: UserId, after: Mid, limit: number): Promise<Message[]>;
  observe(mid: Mid): void;
  /** The first read failed; it is tried again while the session lasts. */
  onFailure(error: unknown): void;
  /** Uniform in [0, 1). */
  random(): number;
}

/**
 * Runs one pull of `session`, which is pulling already. Never rejects.
 */
export async function pull(session: Session, ports: PullPorts): Promise<void> {
  const { user, login } = session;
  const isOver = () => session.login !== login || session.closed || !session.pulling;
  let began = ports.clock.now();
  let pauseMs = FIRST_PAUSE_MS;
  let failures = 0;
  for (;;) {
    let waitMs = pauseMs;
    try {
      const patient = ports.clock.now() - began < PATIENCE_MS;
      const complete = await pushPending(session, user, patient, ports);
      if (isOver()) return;
      if (!complete) return session.stopPulling(); // until receipts come
      if (session.endPass()) return;
      if (ports.clock.now() - began > GIVE_UP_MS) return session.stopPulling();
      pauseMs = Math.min(MAX_PAUSE_MS, pauseMs * 2);
    } catch (error) {
      if (isOver()) return;
      // What waits goes out before anything that is pushed meanwhile: there is no going on without.
      if (failures === 0) ports.onFailure(error);
      waitMs = backoffMs(failures++, FIRST_RETRY_MS, MAX_RETRY_MS, ports.random);
      began = ports.clock.now();
    }
    await new Promise<void>((resolve) => ports.clock.after(waitMs, resolve));
    if (isOver()) return;
  }
}

/** Pushes all pending rows; false when the session takes no more for now. */
async function pushPending(
  session: Session,
  user: UserId,
  patient: boolean,
  ports: PullPorts,
): Promise<boolean> {
  const { login } = session;
  let after: Mid = "";
  let limit = PAGE_ROWS;
  for (;;) {
    const rows = await ports.pending(user, after, limit);
    if (session.login !== login || session.user !== user || session.closed) return false;
    for (const message of rows) {
      ports.observe(message.mid);
      const delivery = new Delivery(message, 0, message.groupid === 0, false);
      if (!session.pushRow(delivery, patient)) return false;
    }
    const last = rows[rows.length - 1];
    if (last === undefined || rows.length < limit) return true;
    // A row may be committed below the last one read, and its sender's next row above it. So of what
    // may still grow the next page has everything: one read sees what was committed in order.
    const settled = midAt(ports.clock.now() - SETTLED_MS);
    if (last.mid < settled) after = last.mid;
    else {
      if (settled > after) after = settled;
      limit += MAX_UNRECEIPTED;
    }
  }
}

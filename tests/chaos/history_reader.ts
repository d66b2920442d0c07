/**
 * A simulated user reads back every conversation it is in, page by page, into its record. It judges
 * nothing.
 */

import { delay } from "@std/async/delay";
import {
  type Client,
  ConnectionLost,
  type HistoryPage,
  RequestError,
  type Target,
} from "../../client/mod.ts";
import { groupConv, pairConv, parseText, type Person, type Plan } from "./plan.ts";
import type { HistoryPart, UserRecord } from "./user_record.ts";

/** Messages of one page of history. */
const PAGE = 200;
/** Attempts at one page, and the time between two of them, ms. */
const ATTEMPTS = 10;
const RETRY_MS = 200;

/**
 * See the module's header.
 *
 * @param client The user's client at the time; throws once it has left.
 * @throws {Error} A page does not come.
 */
export async function readHistories(
  plan: Plan,
  person: Person,
  client: () => Client,
  record: UserRecord,
): Promise<void> {
  for (const { conv, target } of conversationsOf(plan, person)) {
    record.history(conv, await readHistory(client, target));
  }
}

function conversationsOf(
  { people, circles }: Plan,
  { id, peers }: Person,
): { conv: string; target: Target }[] {
  const linked = people.filter((other) =>
    other.id !== id && (peers.includes(other.id) || other.peers.includes(id))
  );
  const groups = circles.filter(({ members }) => members.includes(id));
  return [
    ...linked.map((other) => ({
      conv: pairConv(id, other.id),
      target: { kind: "user" as const, id: other.id },
    })),
    ...groups.map((group) => ({
      conv: groupConv(group.id),
      target: { kind: "group" as const, id: group.id },
    })),
  ];
}

async function readHistory(
  client: () => Client,
  target: Target,
): Promise<HistoryPart[]> {
  const parts: HistoryPart[] = [];
  let before: string | undefined;
  for (;;) {
    const page = await pageOf(client, target, before);
    parts.push(page.messages.map((m) => [m.id, parseText(m.msg)?.n ?? 1, m.mid]));
    before = page.messages[0]?.mid;
    if (!page.more || before === undefined) break;
  }
  return parts.reverse();
}

async function pageOf(
  client: () => Client,
  target: Target,
  before: string | undefined,
): Promise<HistoryPage> {
  for (let attempt = 1;; attempt++) {
    try {
      return await client().history(target, { before, limit: PAGE });
    } catch (error) {
      const passing = error instanceof ConnectionLost || error instanceof RequestError;
      if (!passing || attempt >= ATTEMPTS) throw error;
      await delay(RETRY_MS);
    }
  }
}

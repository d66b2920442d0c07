/**
 * What was sent in a run, to whom, and what became of it by the word of its senders and of the
 * histories. It judges only whether these words fit each other.
 */

import type { Findings } from "./findings.ts";
import { type Evidence, type Line, type LineOf, nameOf } from "./record.ts";

/** A message that a user was about to send, and what became of it. */
export interface Sent {
  readonly from: number;
  readonly n: number;
  readonly name: string;
  readonly conv: string;
  /** Name of the message that it answers. */
  readonly re: string | undefined;
  /** Number of the client that queued it; 0: not known to be queued. */
  queuedBy: number;
  /** The library, or the server, did not take it. */
  untaken: boolean;
  /** The id under which it was acknowledged. */
  mid: string | undefined;
}

/** The messages of one run. */
export class Ledger {
  /** How many were sent, acknowledged, and answers. */
  readonly counts = { sent: 0, acknowledged: 0, replies: 0 };
  readonly #findings: Findings;
  readonly #groups: Evidence["groups"];
  /** Name ⇒ message. */
  readonly #sent = new Map<string, Sent>();
  /** Message ⇒ the id under which it is stored, as histories have it. */
  readonly #stored = new Map<string, string>();
  /** User ⇒ number of its last client. */
  readonly #lastClient = new Map<number, number>();

  constructor({ groups, records }: Evidence, findings: Findings) {
    this.#findings = findings;
    this.#groups = groups;
    for (const [user, lines] of records) this.#collectSent(user, lines);
    for (const lines of records.values()) this.#collectStored(lines);
  }

  /** Name ⇒ message. */
  get sent(): ReadonlyMap<string, Sent> {
    return this.#sent;
  }

  /** The id under which a message is stored; undefined when no history has it. */
  storedAs(name: string): string | undefined {
    return this.#stored.get(name);
  }

  /** The client that queued it acted to the end: it should have been told. */
  isOfLastClient({ from, queuedBy }: Sent): boolean {
    return queuedBy === this.#lastClient.get(from);
  }

  /** The id that a sender was told of its message; undefined of others' messages. */
  ownMid(user: number, name: string): string | undefined {
    const sent = this.#sent.get(name);
    return sent?.from === user ? sent.mid : undefined;
  }

  /** Every member of a message's conversation but its sender. */
  recipients({ conv, from }: Sent): readonly number[] {
    return this.#members(conv).filter((id) => id !== from);
  }

  #collectSent(from: number, lines: readonly Line[]): void {
    let client = 0;
    for (const line of lines) {
      switch (line.k) {
        case "client":
          client = line.number;
          this.#lastClient.set(from, client);
          break;
        case "send": {
          const name = nameOf(from, line.n);
          const re = line.re && nameOf(line.re.from, line.re.n);
          this.#sent.set(name, {
            from,
            n: line.n,
            name,
            conv: line.conv,
            re,
            queuedBy: 0,
            untaken: false,
            mid: undefined,
          });
          this.counts.sent++;
          if (re !== undefined) this.counts.replies++;
          break;
        }
        case "queued":
        case "untaken":
        case "acked":
        case "failed":
          this.#collectOutcome(from, line, client);
      }
    }
  }

  #collectOutcome(
    from: number,
    line: LineOf<"queued" | "untaken" | "acked" | "failed">,
    client: number,
  ): void {
    const name = nameOf(from, line.n);
    const sent = this.#sent.get(name);
    if (sent === undefined) {
      return this.#findings.wrong(
        "no evidence",
        `${line.k} ${name}, of which no sending is recorded`,
        name,
      );
    }
    switch (line.k) {
      case "queued":
        sent.queuedBy = client;
        return;
      case "untaken":
        sent.untaken = true;
        return;
      case "failed":
        sent.untaken = true;
        return this.#findings.wrong("refused for good", `errno ${line.errno}: ${line.why}`, name);
      case "acked":
        if (sent.mid === undefined) this.counts.acknowledged++;
        else if (sent.mid !== line.mid) {
          this.#findings.wrong(
            "acknowledged twice under different ids",
            `${name} as ${sent.mid} and as ${line.mid}`,
            name,
          );
        }
        sent.mid = line.mid;
    }
  }

  #collectStored(lines: readonly Line[]): void {
    for (const line of lines) {
      if (line.k !== "history") continue;
      for (const [from, n, mid] of line.part) this.#stored.set(nameOf(from, n), mid);
    }
  }

  #members(conv: string): readonly number[] {
    if (conv.startsWith("p:")) return conv.slice(2).split("-").map(Number);
    return this.#groups.get(Number(conv.slice(2))) ?? [];
  }
}

/** Whether its recipients must have it: the client was told that it is safe. */
export function isOwed({ queuedBy, untaken, mid }: Sent): boolean {
  return mid !== undefined || (queuedBy > 0 && !untaken);
}

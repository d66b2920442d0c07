/**
 * This node's entries in the cluster-wide hash of online users: claimed, released, written again,
 * cleaned. Knows no envelopes and no other node's liveness beyond what the scripts check.
 *
 * Invariant: `#held` is what this node has claimed and not released. While Redis answers, its
 * entries for this node are the same; after a reset `announce` makes them the same again, in both
 * directions, so that neither a lost claim nor a lost release outlives it.
 */

import type { Claim, Location, NodeId, UserId } from "../../ports.ts";
import type { RedisNames } from "./names.ts";
import { type RedisPair, within } from "./pair.ts";
import { ANNOUNCE, CLAIM, RELEASE, SWEEP } from "./scripts.ts";

/** Entries one script call touches: keeps Redis busy for about half a millisecond. */
const BATCH = 100;

/** What a node writes its entries with. */
export interface OnlineOptions {
  readonly node: NodeId;
  readonly names: RedisNames;
  /** Life of the lease key when a script has to take it, ms. */
  readonly leaseKeyMs: number;
  /** Longest wait for an answer to a claim, ms. */
  readonly claimMs: number;
  /** The pair in use; undefined while Redis is away. */
  readonly pair: () => RedisPair | undefined;
  /** A script found the lease missing, and has taken it again. */
  readonly onLeaseLost: () => void;
  /** An entry in Redis may be wrong: a reset is due. */
  readonly onDoubt: () => void;
}

const UNANSWERED: Claim = { granted: true, previous: undefined, isGuess: true };

/** Entries of this node's users. */
export class OnlineEntries {
  readonly #options: OnlineOptions;
  /** user ⇒ connection. */
  readonly #held = new Map<UserId, number>();
  /** user ⇒ claims under way: newer than what any caller of announce can know. */
  readonly #claiming = new Map<UserId, number>();
  #unanswered = 0;

  constructor(options: OnlineOptions) {
    this.#options = options;
  }

  /** Claims that were granted because Redis gave no answer. */
  get unanswered(): number {
    return this.#unanswered;
  }

  /** As `BusPort.claim`. Resolves within `claimMs`; never rejects. */
  async claim(user: UserId, conn: number, takeover: boolean): Promise<Claim> {
    this.#held.set(user, conn);
    const pair = this.#options.pair();
    const answer = pair &&
      await within(this.#ask(pair, user, conn, takeover), this.#options.claimMs);
    if (answer === undefined) {
      // Whatever went wrong, the user may be let in: announce writes the entry, and the registry's
      // own map finds out about a second session.
      this.#unanswered++;
      this.#options.onDoubt();
      return UNANSWERED;
    }
    if (!answer.granted && this.#held.get(user) === conn) this.#held.delete(user);
    return answer;
  }

  /** As `BusPort.release`. */
  async release(user: UserId, conn: number): Promise<void> {
    if (this.#held.get(user) === conn) this.#held.delete(user);
    const { node, names, pair, claimMs, onDoubt } = this.#options;
    // If it fails, the announce after a reset deletes the entry.
    const used = pair();
    if (!used) return onDoubt();
    const released = used.run(RELEASE, [names.online], [user, `${node}:${conn}`]);
    await within(released.then(() => {}, onDoubt), claimMs);
  }

  /**
   * As `BusPort.announce`: writes `entries`, then deletes this node's entries that nobody holds.
   * @returns Why it must be done again, when Redis failed meanwhile.
   */
  async announce(
    entries: readonly { user: UserId; conn: number }[],
  ): Promise<string | undefined> {
    for (const { user, conn } of entries) {
      if (!this.#claiming.has(user)) this.#held.set(user, conn);
    }
    const pair = this.#options.pair();
    try {
      if (!pair) throw new Error("Redis is away");
      for (let at = 0; at < entries.length; at += BATCH) {
        const args = this.#header();
        for (const { user, conn } of entries.slice(at, at + BATCH)) {
          // Released or replaced since: the newer word has been sent already.
          if (this.#held.get(user) === conn) args.push(user, conn);
        }
        if (await pair.run(ANNOUNCE, this.#keys(), args) === 1) this.#options.onLeaseLost();
      }
      await this.#prune(pair);
      return undefined;
    } catch (error) {
      this.#options.onDoubt();
      return error instanceof Error ? error.message : String(error);
    }
  }

  /**
   * Deletes all void entries, of whichever dead node.
   * @throws {Error} When Redis fails meanwhile.
   */
  async sweep(pair: RedisPair): Promise<void> {
    const { online, leasePrefix } = this.#options.names;
    let cursor = "0";
    do {
      const reply = await pair.run(SWEEP, [online], [cursor, BATCH, leasePrefix]);
      cursor = textAt(reply, 0);
    } while (cursor !== "0");
  }

  /** Deletes entries of this node that it does not hold: their release was lost. */
  async #prune(pair: RedisPair): Promise<void> {
    const { node, names } = this.#options;
    const own = `${node}:`;
    let cursor = "0";
    do {
      const [next, fields] = await pair.scan(names.online, cursor, BATCH);
      const stale: string[] = [];
      for (let i = 0; i + 1 < fields.length; i += 2) {
        const user = fields[i] ?? "";
        const location = fields[i + 1] ?? "";
        if (!location.startsWith(own)) continue;
        // Read again for each batch: a claim made since holds its entry.
        if (this.#held.get(Number(user)) !== Number(location.slice(own.length))) {
          stale.push(user, location);
        }
      }
      if (stale.length > 0) await pair.run(RELEASE, [names.online], stale);
      cursor = next;
    } while (cursor !== "0");
  }

  /** Resolves to undefined when Redis gives no answer to use. */
  async #ask(
    pair: RedisPair,
    user: UserId,
    conn: number,
    takeover: boolean,
  ): Promise<Claim | undefined> {
    this.#claiming.set(user, (this.#claiming.get(user) ?? 0) + 1);
    try {
      const args = [...this.#header(), user, conn, takeover ? 1 : 0];
      return this.#claimed(await pair.run(CLAIM, this.#keys(), args));
    } catch {
      return undefined; // counted, and made good, by the caller
    } finally {
      const others = (this.#claiming.get(user) ?? 1) - 1;
      if (others > 0) this.#claiming.set(user, others);
      else this.#claiming.delete(user);
    }
  }

  #keys(): string[] {
    const { node, names } = this.#options;
    return [names.online, names.lease(node)];
  }

  #header(): (string | number)[] {
    const { leaseKeyMs, names, node } = this.#options;
    return [leaseKeyMs, names.leasePrefix, node];
  }

  #claimed(reply: unknown): Claim | undefined {
    const [granted, previous, lost]: unknown[] = Array.isArray(reply) ? reply : [];
    if (lost === 1) this.#options.onLeaseLost();
    if (granted === 0) return { granted: false };
    if (granted !== 1) return undefined;
    // Without the own lease others' may be gone as well, and with them what they hold.
    return {
      granted: true,
      previous: parseLocation(previous),
      ...(lost === 1 && { isGuess: true }),
    };
  }
}

/** Text `<node>:<conn>` → location; undefined when there is none. */
function parseLocation(text: unknown): Location | undefined {
  if (typeof text !== "string" || text === "") return undefined;
  const at = text.lastIndexOf(":");
  return { node: text.slice(0, at), conn: Number(text.slice(at + 1)) };
}

/** @throws {TypeError} When Redis answered something else. */
function textAt(reply: unknown, index: number): string {
  const value: unknown = Array.isArray(reply) ? reply[index] : undefined;
  if (typeof value !== "string") throw new TypeError("unexpected reply from a script");
  return value;
}

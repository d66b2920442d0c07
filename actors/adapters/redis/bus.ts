/**
 * The bus over one Redis (not Redis Cluster): pub/sub between nodes, leases, entries of online
 * users. No batching: the bridge sends one envelope per turn and destination. A PUBLISH of 64
 * messages costs this side 0.5 µs a message; a pipeline of several measured no cheaper.
 *
 * A node is dead when it is silent and its lease is gone, never for silence alone; if it lives after
 * all, it finds its lease missing at its next beat, and announces everything again.
 *
 * Invariant: after anything that may have lost an envelope or an entry (a new pair of connections,
 * a missing lease, a full queue) comes an `onReset`, and before it no envelope of the new pair.
 */

import type { Buffer } from "node:buffer";
import type { BusCounters, BusHandler, BusPort, Claim, NodeId, UserId } from "../../ports.ts";
import { type Header, KIND, readEnvelope, say, sayEnvelope } from "./message.ts";
import { RedisNames } from "./names.ts";
import { OnlineEntries } from "./online.ts";
import { type RedisPair, within } from "./pair.ts";
import { Peers } from "./peers.ts";
import { Retry } from "./retry.ts";
import { RedisSession, type SessionEvents, type SessionOptions } from "./session.ts";

/** Settings of {@linkcode openRedisBus}. Times in ms. */
export interface RedisBusOptions {
  /** `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS. */
  readonly url: string;
  /** This run of this node; printable ASCII without spaces. */
  readonly node: NodeId;
  /** A node that stops is declared dead within this. @default 10_000 */
  readonly leaseMs?: number;
  /** Before every key and channel. @default "chat:" */
  readonly prefix?: string;
  /** Between two beats. @default 1_000, or a fifth of the lease if that is less */
  readonly beatMs?: number;
  /** For connecting, authenticating and subscribing. @default 3_000 */
  readonly openMs?: number;
  /** How long `start` tries. @default 10_000 */
  readonly startMs?: number;
  /** Longest wait of a claim; it is granted then. @default 1_000 */
  readonly claimMs?: number;
  /** Most text that waits for Redis, in UTF-16 units; more is dropped. @default 8_388_608 */
  readonly maxQueuedUnits?: number;
}

/** Between two sweeps of entries without a known death, ms: nodes may die while none looks. */
const SWEEP_MS = 600_000;

/** What this bus counts beside what every bus does. */
export interface RedisBusCounters extends BusCounters {
  /** Pairs of connections that came up. */
  readonly connects: number;
  /** Claims granted without an answer. */
  readonly unanswered: number;
}

/**
 * A bus that is not connected yet: `start` does that.
 * @throws {TypeError} `url` or `node` is malformed.
 * @throws {RangeError} `leaseMs` is too short for `beatMs`.
 */
export function openRedisBus(options: RedisBusOptions): RedisBus {
  return new RedisBus(options);
}

/** See the module's header. */
export class RedisBus implements BusPort {
  readonly node: NodeId;
  readonly #leaseMs: number;
  readonly #startMs: number;
  readonly #names: RedisNames;
  readonly #online: OnlineEntries;
  readonly #peers = new Peers();
  readonly #retry = new Retry();
  readonly #session: Omit<SessionOptions, "graceMs">;
  readonly #started = Promise.withResolvers<true>();
  readonly #events: SessionEvents = {
    onUp: () => this.#onUp(),
    onLeaseLost: () => this.#resetSoon(),
    onDead: (node) => this.#down(node),
    onMessage: (header, payload) => this.#receive(header, payload),
    onBeat: () => this.#onBeat(),
  };

  #handler: BusHandler | undefined;
  #running: Promise<void> | undefined;
  #current: RedisSession | undefined;
  #closed = false;
  #trouble = "not started";
  #announceTrouble = "";
  /** A reset is due although the pair is well: at a beat from `#resetAt` on, once it can help. */
  #resetDue = false;
  #resetAt = 0;
  #resetTimer: ReturnType<typeof setTimeout> | undefined;
  #sweepAt = 0;
  #sweeping = false;
  #dropped = 0;
  #resets = 0;
  #connects = 0;

  constructor(options: RedisBusOptions) {
    const { url, node, leaseMs = 10_000 } = options;
    const beatMs = options.beatMs ?? Math.min(1_000, leaseMs / 5);
    if (!/^[!-~]{1,128}$/.test(node)) {
      throw new TypeError(`node: expected printable ASCII without spaces, got "${node}"`);
    }
    if (!/^rediss?:$/.test(new URL(url).protocol)) {
      throw new TypeError("url: expected redis:// or rediss://");
    }
    if (leaseMs < 4 * beatMs) {
      throw new RangeError(`leaseMs: expected at least 4 beats of ${beatMs} ms`);
    }
    this.node = node;
    this.#leaseMs = leaseMs;
    this.#startMs = options.startMs ?? 10_000;
    this.#names = new RedisNames(options.prefix ?? "chat:");
    // Less than the lease by the time others take to look and to see the key gone.
    const leaseKeyMs = Math.round(leaseMs - 2 * beatMs);
    this.#session = {
      url,
      node,
      names: this.#names,
      peers: this.#peers,
      leaseKeyMs,
      beatMs,
      openMs: options.openMs ?? 3_000,
      maxQueuedUnits: options.maxQueuedUnits ?? 8 * 1024 * 1024,
    };
    this.#online = new OnlineEntries({
      node,
      names: this.#names,
      leaseKeyMs,
      claimMs: options.claimMs ?? 1_000,
      pair: () => this.#up()?.pair,
      onLeaseLost: () => this.#resetSoon(),
      onDoubt: () => this.#resetDue = true,
    });
  }

  /** Figures for metrics. */
  get counters(): RedisBusCounters {
    return {
      dropped: this.#dropped,
      resets: this.#resets,
      connects: this.#connects,
      unanswered: this.#online.unanswered,
    };
  }

  /**
   * Resolves once this node's own beat has come back.
   * @throws {Error} When that takes longer than `startMs`; the bus is closed then.
   */
  async start(handler: BusHandler): Promise<void> {
    if (this.#running || this.#closed) throw new Error("a bus starts once");
    this.#handler = handler;
    this.#trouble = "connecting to Redis";
    this.#running = this.#retry.run(() => this.#serve());
    if (await within(this.#started.promise, this.#startMs)) return;
    const why = this.#trouble;
    await this.close();
    throw new Error(
      `no bus over Redis at ${
        new URL(this.#session.url).host
      } within ${this.#startMs} ms: ${why}; ` +
        "check its URL, and that it runs",
    );
  }

  send(to: NodeId, text: string): void {
    this.#envelope(this.#names.inbox(to), text);
  }

  broadcast(text: string): void {
    this.#envelope(this.#names.everyone, text);
  }

  claim(user: UserId, conn: number, takeover: boolean): Promise<Claim> {
    return this.#online.claim(user, conn, takeover);
  }

  release(user: UserId, conn: number): Promise<void> {
    return this.#online.release(user, conn);
  }

  async announce(entries: readonly { user: UserId; conn: number }[]): Promise<void> {
    this.#announceTrouble = await this.#online.announce(entries) ?? "";
  }

  problem(): string | undefined {
    const session = this.#up();
    if (session === undefined) return this.#trouble;
    if (session.silence !== undefined) return session.silence;
    const trouble = session.leaseTrouble || this.#announceTrouble;
    return trouble === "" ? undefined : `Redis refuses to write: ${trouble}`;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#trouble = "closed";
    clearTimeout(this.#resetTimer);
    this.#current?.end();
    this.#retry.stop();
    await this.#running;
  }

  // ── what the session tells ──────────────────────────────────────────────────────────────────

  #onUp(): void {
    this.#connects++;
    this.#sweepAt = performance.now() + this.#leaseMs; // by then all old leases have ended
    if (this.#connects > 1) this.#reset();
    else this.#started.resolve(true);
  }

  /** In a turn of its own: whoever awaits an answer that came in this one has then taken it in. */
  #resetSoon(): void {
    if (!this.#closed) this.#resetTimer ??= setTimeout(() => this.#reset(), 0);
  }

  #down(node: NodeId): void {
    if (!this.#peers.forget(node)) return;
    this.#sweepAt = 0;
    this.#handler?.onNodeDown(node);
  }

  #receive(header: Header, payload: Buffer): void {
    const { kind, from } = header;
    if (kind === KIND.BYE) return this.#down(from);
    if (this.#peers.heard(from)) this.#handler?.onNodeUp(from);
    if (kind === KIND.HELLO) {
      this.#up()?.pair.publish(this.#names.inbox(from), say(KIND.BEAT, this.node, "0"));
    }
    const text = readEnvelope(header, payload);
    if (text !== undefined) this.#handler?.onEnvelope(from, text);
  }

  #onBeat(): void {
    const session = this.#up();
    if (session === undefined) return;
    const now = performance.now();
    const helps = session.leaseTrouble === "" && session.pair.relaxed;
    if (this.#resetDue && helps && now >= this.#resetAt) this.#reset();
    if (now >= this.#sweepAt) void this.#sweep(session.pair);
  }

  // ── own ─────────────────────────────────────────────────────────────────────────────────────

  /** One session from begin to end. @returns Whether it was well for a while. */
  async #serve(): Promise<boolean> {
    // After a restart of Redis others may need as long as a lease to come back.
    const graceMs = this.#connects > 0 ? this.#leaseMs : 0;
    const session = new RedisSession({ ...this.#session, graceMs }, this.#events);
    this.#current = session;
    const why = await session.serve();
    this.#current = undefined;
    if (!this.#closed) this.#trouble = why;
    return session.wasWell;
  }

  #up(): RedisSession | undefined {
    return this.#current?.isUp ? this.#current : undefined;
  }

  #envelope(channel: string, text: string): void {
    if (this.#up()?.pair.publish(channel, sayEnvelope(this.node, text))) return;
    this.#dropped++;
    this.#resetDue = true;
  }

  #reset(): void {
    clearTimeout(this.#resetTimer);
    this.#resetTimer = undefined;
    this.#resetDue = false;
    this.#resetAt = performance.now() + this.#leaseMs;
    this.#resets++;
    this.#handler?.onReset();
  }

  async #sweep(pair: RedisPair): Promise<void> {
    if (this.#sweeping) return;
    this.#sweeping = true;
    this.#sweepAt = performance.now() + SWEEP_MS * (0.5 + Math.random());
    try {
      await this.#online.sweep(pair);
    } catch {
      this.#sweepAt = performance.now() + this.#leaseMs; // void entries wait for the next sweep
    } finally {
      this.#sweeping = false;
    }
  }
}

/**
 * The bus over one Redis (not Redis Cluster): pub/sub between nodes, leases, entries of online
 * users. No batching: the bridge sends one envelope per turn and destination. A PUBLISH of 64
 * messages costs this side 0.5 µs a message; a pipeline of several measured no cheaper.
 *
 * Channels: `<prefix>to:<node>` for one node, `<prefix>all` for every node. Keys: redis_scripts.ts.
 * Pub/sub ignores the database number: two clusters on one Redis need two prefixes.
 *
 * Liveness rests on beats. Every `beatMs` a node renews its lease and publishes a beat to everyone
 * and to itself, in one script, so that its own beat coming back proves the whole way: commands,
 * Redis, subscription. A node is dead when it is silent and its lease is gone, never for silence
 * alone; it then finds its lease missing at its next beat, and announces everything again.
 *
 * Invariant: after anything that may have lost an envelope or an entry (a new pair of connections,
 * a missing lease, a full queue) comes an `onReset`, and before it no envelope of the new pair.
 * Source of the failure modes: docs/architecture.md, "Between nodes".
 */

import type { Buffer } from "node:buffer";
import type { BusHandler, BusPort, Claim, NodeId, UserId } from "../ports.ts";
import { KIND, readEnvelope, readHeader, readNumber, say, sayEnvelope } from "./redis_message.ts";
import { OnlineEntries } from "./redis_online.ts";
import { RedisPair, within } from "./redis_pair.ts";
import { Peers } from "./redis_peers.ts";
import { Pulse, QUIET_BEATS } from "./redis_pulse.ts";
import { Retry } from "./redis_retry.ts";
import { BEAT, LEAVE } from "./redis_scripts.ts";

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
/** For saying goodbye, ms. */
const LEAVE_MS = 1_000;

/** What a bus counts. */
export interface RedisBusCounters {
  /** Envelopes that were not handed to Redis. */
  readonly dropped: number;
  /** Resets so far. */
  readonly resets: number;
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

/** One pair of connections in service. */
interface Session {
  readonly pair: RedisPair;
  readonly pulse: Pulse;
}

/** See the module's header. */
export class RedisBus implements BusPort {
  readonly node: NodeId;
  readonly #url: string;
  readonly #prefix: string;
  readonly #leaseMs: number;
  readonly #beatMs: number;
  readonly #openMs: number;
  readonly #startMs: number;
  readonly #maxQueuedUnits: number;
  readonly #online: OnlineEntries;
  readonly #peers = new Peers();
  readonly #retry = new Retry();

  #handler: BusHandler | undefined;
  #running: Promise<void> | undefined;
  #session: Session | undefined;
  #closed = false;
  #echoedAt = 0;
  readonly #started = Promise.withResolvers<void>();
  #trouble = "not started";
  /** Why the lease, or the entries, cannot be written while envelopes get through; "" if they can. */
  #leaseTrouble = "";
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
    if (!/^[!-~]{1,128}$/.test(options.node)) {
      throw new TypeError(`node: expected printable ASCII without spaces, got "${options.node}"`);
    }
    if (!/^rediss?:$/.test(new URL(options.url).protocol)) {
      throw new TypeError("url: expected redis:// or rediss://");
    }
    this.node = options.node;
    this.#url = options.url;
    this.#prefix = options.prefix ?? "chat:";
    this.#leaseMs = options.leaseMs ?? 10_000;
    this.#beatMs = options.beatMs ?? Math.min(1_000, this.#leaseMs / 5);
    this.#openMs = options.openMs ?? 3_000;
    this.#startMs = options.startMs ?? 10_000;
    this.#maxQueuedUnits = options.maxQueuedUnits ?? 8 * 1024 * 1024;
    if (this.#leaseMs < 4 * this.#beatMs) {
      throw new RangeError(`leaseMs: expected at least 4 beats of ${this.#beatMs} ms`);
    }
    this.#online = new OnlineEntries({
      node: this.node,
      prefix: this.#prefix,
      leaseKeyMs: this.#leaseKeyMs,
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
    const started = this.#started.promise.then(() => true);
    if (await within(started, this.#startMs)) return;
    const why = this.#trouble;
    await this.close();
    throw new Error(`no bus over Redis within ${this.#startMs} ms: ${why}`);
  }

  send(to: NodeId, text: string): void {
    this.#envelope(this.#channel(to), text);
  }

  broadcast(text: string): void {
    this.#envelope(this.#everyone, text);
  }

  claim(user: UserId, conn: number, takeover: boolean): Promise<Claim> {
    return this.#online.claim(user, conn, takeover);
  }

  release(user: UserId, conn: number): void {
    this.#online.release(user, conn);
  }

  async announce(entries: readonly { user: UserId; conn: number }[]): Promise<void> {
    this.#announceTrouble = await this.#online.announce(entries) ?? "";
  }

  problem(): string | undefined {
    if (!this.#up()) return this.#trouble;
    const silentMs = Math.round(performance.now() - this.#echoedAt);
    if (silentMs > (QUIET_BEATS + 1) * this.#beatMs) {
      return `nothing has come back through Redis for ${silentMs} ms`;
    }
    const trouble = this.#leaseTrouble || this.#announceTrouble;
    return trouble === "" ? undefined : `Redis refuses to write: ${trouble}`;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#trouble = "closed";
    this.#session?.pair.lose("closed");
    this.#retry.stop();
    clearTimeout(this.#resetTimer);
    await this.#running;
  }

  // ── connections ─────────────────────────────────────────────────────────────────────────────

  /** Serves one pair to its end. @returns Whether it served for a while. */
  async #serve(): Promise<boolean> {
    const pair = new RedisPair({
      url: this.#url,
      name: `chat-${this.node}`,
      channels: [this.#channel(this.node), this.#everyone],
      openMs: this.#openMs,
      maxQueuedUnits: this.#maxQueuedUnits,
      onMessage: (payload) => this.#receive(session, payload),
    });
    const session: Session = { pair, pulse: new Pulse() };
    this.#session = session;
    let timer: ReturnType<typeof setInterval> | undefined;
    try {
      await pair.open();
      timer = setInterval(this.#tick, this.#beatMs, session);
      this.#beat(session);
      this.#trouble = await pair.lost;
      if (this.#closed && session.pulse.isUp) await this.#leave(pair);
    } catch (error) {
      this.#trouble = error instanceof Error ? error.message : String(error);
    } finally {
      clearInterval(timer);
      this.#session = undefined;
      await pair.close();
    }
    return session.pulse.age > QUIET_BEATS;
  }

  /** Says goodbye; when that fails, others wait for the lease to end. */
  async #leave(pair: RedisPair): Promise<void> {
    const args = [this.#everyone, say(KIND.BYE, this.node, "")];
    const left = pair.run(LEAVE, [this.#leaseKey(this.node)], args);
    await within(left.catch(() => {}), LEAVE_MS);
  }

  /** The session whose own beat has come back. */
  #up(): Session | undefined {
    return this.#session?.pulse.isUp && !this.#closed ? this.#session : undefined;
  }

  // ── beats ───────────────────────────────────────────────────────────────────────────────────

  /** Judges the pair, then beats and does what else is due. */
  readonly #tick = (session: Session): void => {
    const { pair, pulse } = session;
    if (this.#closed) return;
    const dead = pulse.judge(pair);
    if (dead !== undefined) return pair.lose(dead);
    this.#beat(session);
    if (!pulse.isUp) return;
    const now = performance.now();
    const helps = this.#leaseTrouble === "" && pair.relaxed;
    if (this.#resetDue && helps && now >= this.#resetAt) this.#reset();
    if (now >= this.#sweepAt) void this.#sweep(pair);
  };

  #beat({ pair, pulse }: Session): void {
    this.#peers.beat();
    const number = pulse.next();
    const suspects = this.#suspects(pulse);
    const text = say(number === 1 ? KIND.HELLO : KIND.BEAT, this.node, `${number}`);
    pair.run(
      BEAT,
      [this.#leaseKey(this.node), ...suspects.map((node) => this.#leaseKey(node))],
      [this.#leaseKeyMs, this.#everyone, this.#channel(this.node), text],
      "urgent",
    ).then(
      (reply) => this.#beaten(number, suspects, reply),
      // Refused as a whole: Redis still loads, or allows no scripts. Or the pair is lost already.
      (error: Error) => pair.lose(error.message),
    );
  }

  /** Silent nodes, whose leases are worth a look; none while it may be us who is deaf. */
  #suspects(pulse: Pulse): NodeId[] {
    // After a restart of Redis others may need as long as a lease to come back.
    const graceMs = this.#connects > 1 ? this.#leaseMs : 0;
    if (!pulse.hears || pulse.age * this.#beatMs < graceMs) return [];
    return this.#peers.silent();
  }

  #beaten(number: number, suspects: readonly NodeId[], reply: unknown): void {
    if (this.#closed || !Array.isArray(reply)) return;
    const [had, refused, ...alive]: unknown[] = reply;
    this.#leaseTrouble = typeof refused === "string" ? refused : "";
    suspects.forEach((node, i) => {
      if (alive[i] === 0 && this.#peers.isSilent(node)) this.#down(node);
    });
    // A first beat takes the lease, and is followed by a reset anyway.
    if (had === 0 && number > 1 && this.#leaseTrouble === "") this.#resetSoon();
  }

  // ── messages ────────────────────────────────────────────────────────────────────────────────

  #receive(session: Session, payload: Buffer): void {
    const header = readHeader(payload);
    if (header === undefined || session !== this.#session || this.#closed) return;
    const { kind, from } = header;
    if (from === this.node) {
      const isBeat = kind === KIND.BEAT || kind === KIND.HELLO;
      if (isBeat) this.#echo(session, readNumber(header, payload));
      return;
    }
    if (!session.pulse.isUp) return; // a reset follows
    if (kind === KIND.BYE) return this.#down(from);
    if (this.#peers.heard(from)) this.#handler?.onNodeUp(from);
    if (kind === KIND.HELLO) {
      session.pair.publish(this.#channel(from), say(KIND.BEAT, this.node, "0"));
    }
    const text = readEnvelope(header, payload);
    if (text !== undefined) this.#handler?.onEnvelope(from, text);
  }

  #echo({ pulse }: Session, number: number): void {
    this.#echoedAt = performance.now();
    if (!pulse.echo(number)) return;
    this.#connects++;
    this.#sweepAt = performance.now() + this.#leaseMs; // by then all old leases have ended
    if (this.#connects > 1) this.#reset();
    else this.#started.resolve();
  }

  #down(node: NodeId): void {
    if (!this.#peers.forget(node)) return;
    this.#sweepAt = 0;
    this.#handler?.onNodeDown(node);
  }

  /** In a turn of its own: whoever awaits an answer that came in this one has then taken it in. */
  #resetSoon(): void {
    if (!this.#closed) this.#resetTimer ??= setTimeout(() => this.#reset(), 0);
  }

  #reset(): void {
    clearTimeout(this.#resetTimer);
    this.#resetTimer = undefined;
    this.#resetDue = false;
    this.#resetAt = performance.now() + this.#leaseMs;
    this.#resets++;
    this.#handler?.onReset();
  }

  #envelope(channel: string, text: string): void {
    const session = this.#up();
    if (session?.pair.publish(channel, sayEnvelope(this.node, text))) return;
    this.#dropped++;
    this.#resetDue = true;
  }

  // ── leases and entries ──────────────────────────────────────────────────────────────────────

  /** Life of the key: less than the lease by the time others take to look and to see it gone. */
  get #leaseKeyMs(): number {
    return Math.round(this.#leaseMs - 2 * this.#beatMs);
  }

  get #everyone(): string {
    return `${this.#prefix}all`;
  }

  #channel(node: NodeId): string {
    return `${this.#prefix}to:${node}`;
  }

  #leaseKey(node: NodeId): string {
    return `${this.#prefix}node:${node}`;
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

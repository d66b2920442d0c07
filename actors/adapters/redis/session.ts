/**
 * One pair of connections in service: opened, kept alive by beats, judged by them, left. Knows what
 * a beat is and nothing of envelopes; what outlives the pair is its owner's.
 *
 * Every `beatMs` the node renews its lease and publishes a beat to everyone and to itself, in one
 * script, so that the own beat coming back proves the whole way: commands, Redis, subscription.
 * Invariant: no message of another node is passed on before the own beat has come back once.
 */

import type { Buffer } from "node:buffer";
import type { NodeId } from "../../ports.ts";
import { type Header, KIND, readHeader, readNumber, say } from "./message.ts";
import type { RedisNames } from "./names.ts";
import { RedisPair, within } from "./pair.ts";
import type { Peers } from "./peers.ts";
import { Pulse, QUIET_BEATS } from "./heartbeat.ts";
import { BEAT, LEAVE } from "./scripts.ts";

/** For saying goodbye, ms. */
const LEAVE_MS = 1_000;

/** What a session tells its owner. Never called after {@linkcode RedisSession.end}. */
export interface SessionEvents {
  /** The own beat has come back for the first time. */
  onUp(): void;
  /** The lease was missing although the session is up: others may have taken this node for dead. */
  onLeaseLost(): void;
  /** A silent node has no lease. */
  onDead(node: NodeId): void;
  /** A message from another node. */
  onMessage(header: Header, payload: Buffer): void;
  /** A beat has been sent and the session is up: time for what is due now and then. */
  onBeat(): void;
}

/** What a session needs; times in ms. */
export interface SessionOptions {
  readonly url: string;
  readonly node: NodeId;
  readonly names: RedisNames;
  readonly peers: Peers;
  readonly leaseKeyMs: number;
  readonly beatMs: number;
  readonly openMs: number;
  /** From coming up until silent nodes' leases are looked at. */
  readonly graceMs: number;
  readonly maxQueuedUnits: number;
}

/** See the module's header. */
export class RedisSession {
  readonly pair: RedisPair;
  readonly #options: SessionOptions;
  readonly #events: SessionEvents;
  readonly #pulse = new Pulse();
  #ended = false;
  #echoedAt = 0;
  #leaseTrouble = "";

  constructor(options: SessionOptions, events: SessionEvents) {
    const { url, node, names, openMs, maxQueuedUnits } = options;
    this.#options = options;
    this.#events = events;
    this.pair = new RedisPair({
      url,
      name: `chat-${node}`,
      channels: [names.inbox(node), names.everyone],
      openMs,
      maxQueuedUnits,
      onMessage: (payload) => this.#receive(payload),
    });
  }

  /** The own beat has come back, and the end has not come. */
  get isUp(): boolean {
    return this.#pulse.isUp && !this.#ended;
  }

  /** It was up for longer than it takes to notice a dead connection. */
  get wasWell(): boolean {
    return this.#pulse.age > QUIET_BEATS;
  }

  /** Why the lease cannot be renewed, while envelopes get through; "" while it can. */
  get leaseTrouble(): string {
    return this.#leaseTrouble;
  }

  /** Undefined when the own beat came back lately. */
  get silence(): string | undefined {
    const silentMs = Math.round(performance.now() - this.#echoedAt);
    if (silentMs <= (QUIET_BEATS + 1) * this.#options.beatMs) return undefined;
    return `nothing has come back through Redis for ${silentMs} ms`;
  }

  /** Opens the pair and serves until it is lost. Never rejects. @returns Why it ended. */
  async serve(): Promise<string> {
    let timer: ReturnType<typeof setInterval> | undefined;
    try {
      await this.pair.open();
      timer = setInterval(() => this.#tick(), this.#options.beatMs);
      this.#beat();
      const why = await this.pair.lost;
      if (this.#ended && this.#pulse.isUp) await this.#leave();
      return why;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    } finally {
      this.#ended = true;
      clearInterval(timer);
      await this.pair.close();
    }
  }

  /** Ends it with a goodbye, if it is up. */
  end(): void {
    this.#ended = true;
    this.pair.lose("closed");
  }

  /** When the goodbye fails, others wait for the lease to run out. */
  async #leave(): Promise<void> {
    const { node, names } = this.#options;
    const left = this.pair.run(LEAVE, [names.lease(node)], [
      names.everyone,
      say(KIND.BYE, node, ""),
    ]);
    await within(left.catch(() => {}), LEAVE_MS);
  }

  #tick(): void {
    if (this.#ended) return;
    const dead = this.#pulse.judge(this.pair);
    if (dead !== undefined) return this.pair.lose(dead);
    this.#beat();
    if (this.isUp) this.#events.onBeat();
  }

  #beat(): void {
    const { node, names, peers, leaseKeyMs } = this.#options;
    peers.beat();
    const number = this.#pulse.next();
    const suspects = this.#suspects();
    const text = say(number === 1 ? KIND.HELLO : KIND.BEAT, node, `${number}`);
    this.pair.run(
      BEAT,
      [names.lease(node), ...suspects.map((other) => names.lease(other))],
      [leaseKeyMs, names.everyone, names.inbox(node), text],
      "urgent",
    ).then(
      (reply) => this.#beaten(number, suspects, reply),
      // Refused as a whole: Redis still loads, or allows no scripts. Or the pair is lost already.
      (error: Error) => this.pair.lose(error.message),
    );
  }

  /** Silent nodes, whose leases are worth a look; none while it may be us who is deaf. */
  #suspects(): NodeId[] {
    const { beatMs, graceMs, peers } = this.#options;
    if (!this.#pulse.hears || this.#pulse.age * beatMs < graceMs) return [];
    return peers.silent();
  }

  #beaten(number: number, suspects: readonly NodeId[], reply: unknown): void {
    if (this.#ended || !Array.isArray(reply)) return;
    const [had, refused, ...alive]: unknown[] = reply;
    this.#leaseTrouble = typeof refused === "string" ? refused : "";
    suspects.forEach((node, i) => {
      if (alive[i] === 0 && this.#options.peers.isSilent(node)) this.#events.onDead(node);
    });
    // A first beat takes the lease, and coming up tells as much.
    if (had === 0 && number > 1 && this.#leaseTrouble === "") this.#events.onLeaseLost();
  }

  #receive(payload: Buffer): void {
    const header = readHeader(payload);
    if (header === undefined || this.#ended) return;
    const { kind, from } = header;
    if (from !== this.#options.node) {
      if (this.isUp) this.#events.onMessage(header, payload);
    } else if (kind === KIND.BEAT || kind === KIND.HELLO) {
      this.#echoedAt = performance.now();
      if (this.#pulse.echo(readNumber(header, payload))) this.#events.onUp();
    }
  }
}

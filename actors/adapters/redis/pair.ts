/**
 * The two connections to Redis, one for commands and one for subscriptions, from their opening
 * until either of them fails. No reconnecting, no meaning of messages: when either connection fails
 * both end, `lost` tells why, and whoever owns the pair opens a new one.
 *
 * Invariants: nothing waits for a connection that is not there (no offline queue, nothing is sent
 * twice), at most `maxQueuedUnits` of text are unanswered, and no command's failure goes unhandled.
 * Why not the driver's own reconnecting: a subscriber whose connection is half dead never notices
 * (redis/ioredis#1451), and commands resent after a restart would run against empty data.
 */

import type { Buffer } from "node:buffer";
import { Redis } from "ioredis";

/** What a pair is opened with. */
export interface PairOptions {
  /** `redis://` or `rediss://`, with user and password when needed. */
  readonly url: string;
  /** Shown by CLIENT LIST. */
  readonly name: string;
  readonly channels: readonly string[];
  /** Time for connecting, authenticating and subscribing together. */
  readonly openMs: number;
  /** Most unanswered text, in UTF-16 units (at most 3 bytes each in the socket's buffer). */
  readonly maxQueuedUnits: number;
  /** A message on any of the channels; the bytes are borrowed. */
  readonly onMessage: (payload: Buffer) => void;
}

/** The TLS library's code for an answer that is no TLS: the port takes plain connections. */
const NO_TLS = "ERR_SSL_WRONG_VERSION_NUMBER";
/** How long a closing connection may take before it is given up. */
const CLOSE_MS = 1_000;
/** What a command costs beyond its text: its place in the driver's queue. */
const COMMAND_UNITS = 200;

/** Resolves to undefined when `p` takes longer than `ms`; `p` goes on. Rejects as `p` does. */
export async function within<T>(p: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([p, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A pair of connections to Redis, from subscribed to lost. */
export class RedisPair {
  /** Resolves with the reason once either connection has ended or {@linkcode close} was called. */
  readonly lost: Promise<string>;
  /** Answers to commands so far: stands still when the command connection is dead. */
  answers = 0;
  /** Messages so far: stands still when the subscription is dead. */
  messages = 0;

  readonly #commands: Redis;
  readonly #subscriber: Redis;
  readonly #openMs: number;
  readonly #channels: readonly string[];
  readonly #maxQueuedUnits: number;
  #queuedUnits = 0;
  #lose: (reason: string) => void = () => {};
  #closed: Promise<void> | undefined;

  /** Connects to nothing yet. */
  constructor(options: PairOptions) {
    this.#openMs = options.openMs;
    this.#channels = options.channels;
    this.#maxQueuedUnits = options.maxQueuedUnits;
    this.lost = new Promise((resolve) => this.#lose = resolve);
    this.#commands = this.#client(options);
    this.#subscriber = this.#client(options);
    this.#subscriber.on("messageBuffer", (_channel: Buffer, payload: Buffer) => {
      this.messages++;
      options.onMessage(payload);
    });
  }

  /**
   * Connects both, and subscribes. Once.
   * @throws {Error} When that fails, takes longer than `openMs`, or the pair is lost meanwhile.
   */
  async open(): Promise<void> {
    const lost = this.lost.then((reason) => {
      throw new Error(reason);
    });
    if (await within(Promise.race([this.#connect(), lost]), this.#openMs) === undefined) {
      throw new Error(`Redis did not answer within ${this.#openMs} ms`);
    }
  }

  /**
   * Publishes without waiting.
   * @returns false when it was dropped: the queue is full or the connection has ended.
   */
  publish(channel: string, text: string): boolean {
    const units = text.length + COMMAND_UNITS;
    if (!this.#take(units)) return false;
    // With a callback the driver handles its promise's rejection. A failure needs no other answer:
    // the connection has ended, which `lost` tells.
    void this.#commands.publish(channel, text, () => this.#give(units));
    return true;
  }

  /**
   * Runs a script and resolves with its reply.
   * @param urgent Also when the queue is full.
   * @throws {Error} Redis' own error, or when the connection ends or the queue is full.
   */
  run(
    lua: string,
    keys: readonly string[],
    args: readonly (string | number)[],
    urgent?: "urgent",
  ): Promise<unknown> {
    const units = lua.length + 16 * args.length + COMMAND_UNITS;
    if (!this.#take(units, urgent)) return Promise.reject(new Error("too much waits for Redis"));
    const reply = this.#commands.eval(lua, keys.length, ...keys, ...args);
    return reply.finally(() => this.#give(units));
  }

  /** One HSCAN step of a hash. */
  async scan(key: string, cursor: string, count: number): Promise<[string, string[]]> {
    if (!this.#take(COMMAND_UNITS)) throw new Error("too much waits for Redis");
    try {
      return await this.#commands.hscan(key, cursor, "COUNT", count);
    } finally {
      this.#give(COMMAND_UNITS);
    }
  }

  /** Less than half of the queue is in use. */
  get relaxed(): boolean {
    return this.#queuedUnits * 2 < this.#maxQueuedUnits;
  }

  /** Gives the pair up for this reason: `lost` resolves, and its owner closes it. */
  lose(reason: string): void {
    this.#lose(reason);
  }

  /** Ends both connections at once; unanswered commands fail. Idempotent, never rejects. */
  close(): Promise<void> {
    this.#lose("closed");
    this.#closed ??= Promise.all([end(this.#commands), end(this.#subscriber)]).then(() => {});
    return this.#closed;
  }

  #client(options: PairOptions): Redis {
    const client = new Redis(options.url, {
      lazyConnect: true,
      retryStrategy: () => null,
      enableOfflineQueue: false,
      enableReadyCheck: false, // a Redis that still loads refuses the first script instead
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: null,
      connectTimeout: options.openMs,
      connectionName: options.name,
      disableClientInfo: true,
    });
    let why = "";
    client.on("error", (error: Error & { readonly code?: unknown }) => {
      why ||= error.code === NO_TLS
        ? `${error.message}: no TLS there? redis:// is without`
        : error.message;
    });
    client.on("close", () => this.#lose(why || "Redis closed the connection"));
    return client;
  }

  async #connect(): Promise<true> {
    await Promise.all([this.#commands.connect(), this.#subscriber.connect()]);
    await this.#subscriber.subscribe(...this.#channels);
    return true;
  }

  #take(units: number, urgent?: "urgent"): boolean {
    if (this.#closed) return false;
    if (!urgent && this.#queuedUnits + units > this.#maxQueuedUnits) return false;
    this.#queuedUnits += units;
    return true;
  }

  #give(units: number): void {
    this.#queuedUnits -= units;
    this.answers++;
  }
}

/**
 * The driver's `disconnect` alone says goodbye and waits for the other side, which a dead
 * connection never answers; destroying the socket ends it now.
 */
async function end(client: Redis): Promise<void> {
  if (client.status === "end") return;
  const ended = new Promise<void>((resolve) => client.once("end", () => resolve()));
  client.disconnect();
  // Declared as always there; absent until the driver has begun to connect.
  const stream: Redis["stream"] | undefined = client.stream;
  stream?.destroy();
  await within(ended, CLOSE_MS);
}

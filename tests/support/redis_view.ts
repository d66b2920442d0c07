/** What a Redis holds for the bus, and an operator's commands, on a connection of its own. */

import { Redis } from "ioredis";
import type { Entries } from "./bus_process.ts";

/** A look at one Redis. */
export class RedisView {
  readonly #client: Redis;

  private constructor(client: Redis) {
    this.#client = client;
  }

  static async open(url: string): Promise<RedisView> {
    const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null });
    await client.connect();
    return new RedisView(client);
  }

  /** The hash of online users. */
  async entries(prefix: string): Promise<Entries> {
    const all = await this.#client.hgetall(`${prefix}online`);
    return new Map(Object.entries(all).map(([user, location]) => [Number(user), location]));
  }

  /** Any command. */
  async call(command: string, ...args: (string | number)[]): Promise<unknown> {
    return await this.#client.call(command, ...args);
  }

  /** Ends the connection, also of a Redis that is gone. */
  async close(): Promise<void> {
    if (this.#client.status === "end") return;
    const ended = new Promise<void>((resolve) => this.#client.once("end", () => resolve()));
    this.#client.disconnect();
    await ended;
  }
}

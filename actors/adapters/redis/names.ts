/**
 * Keys and channels of one cluster in one Redis, all under one prefix. Pub/sub ignores the database
 * number, so two clusters on one Redis need two prefixes.
 */

import type { NodeId } from "../../ports.ts";

/** The names. */
export class RedisNames {
  /** Hash, user ⇒ `<node>:<conn>`. */
  readonly online: string;
  /** Before a node's name: its lease key. */
  readonly leasePrefix: string;
  /** Channel that every node hears. */
  readonly everyone: string;
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
    this.online = `${prefix}online`;
    this.leasePrefix = `${prefix}node:`;
    this.everyone = `${prefix}all`;
  }

  /** Channel that one node hears. */
  inbox(node: NodeId): string {
    return `${this.#prefix}to:${node}`;
  }

  /** Key that exists while the node is alive. */
  lease(node: NodeId): string {
    return this.leasePrefix + node;
  }
}

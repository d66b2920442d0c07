/**
 * A worker's read-only copy of the online map, so that finding a recipient is a local map read.
 * The registry is the only writer. Changes come in order over the link to the registry's thread,
 * after a snapshot; a worker that starts anew gets a new snapshot.
 */

import { WORKER_SPAN } from "../runtime/lane.ts";
import type { NodeId, UserId } from "../ports.ts";

/**
 * Where a user is, as one number: 0 offline; positive, a connection of this node; negative, a
 * worker of another node, see {@linkcode remoteLocation}.
 */
export type LocationCode = number;

/** The code of worker `worker` on the node with local index `nodeIndex`. */
export function remoteLocation(nodeIndex: number, worker: number): LocationCode {
  return -(nodeIndex * WORKER_SPAN + worker + 1);
}

/** The node index of a remote location. */
export function remoteNodeIndex(location: LocationCode): number {
  return Math.floor((-location - 1) / WORKER_SPAN);
}

/** The worker index of a remote location. */
export function remoteWorker(location: LocationCode): number {
  return (-location - 1) % WORKER_SPAN;
}

/** What the registry tells replicas. */
export type ReplicaMessage =
  /** Pairs user, location: all that are online. */
  | { readonly type: "snapshot"; readonly entries: readonly number[] }
  /** Pairs user, location (0: offline). */
  | { readonly type: "changes"; readonly entries: readonly number[] }
  /** A node's local index. */
  | { readonly type: "node"; readonly index: number; readonly node: NodeId };

/** The copy. */
export class Replica {
  readonly #locations = new Map<UserId, LocationCode>();
  readonly #nodes = new Map<number, NodeId>();
  readonly #onChange: (user: UserId, online: boolean) => void;

  /** @param onChange Told of each user that comes or goes (not of one that moves). */
  constructor(onChange: (user: UserId, online: boolean) => void) {
    this.#onChange = onChange;
  }

  /** Whether the first snapshot has come: before it nobody seems to be online. */
  complete = false;

  /** Users online anywhere. */
  get size(): number {
    return this.#locations.size;
  }

  location(user: UserId): LocationCode {
    return this.#locations.get(user) ?? 0;
  }

  nodeId(index: number): NodeId | undefined {
    return this.#nodes.get(index);
  }

  apply(message: ReplicaMessage): void {
    switch (message.type) {
      case "node":
        this.#nodes.set(message.index, message.node);
        return;
      case "snapshot": {
        const gone = new Set(this.#locations.keys());
        for (let i = 0; i < message.entries.length; i += 2) gone.delete(message.entries[i] ?? 0);
        for (const user of gone) this.#set(user, 0);
        this.#setAll(message.entries);
        this.complete = true;
        return;
      }
      case "changes":
        this.#setAll(message.entries);
        return;
      default:
        return message satisfies never;
    }
  }

  #setAll(entries: readonly number[]): void {
    for (let i = 0; i < entries.length; i += 2) this.#set(entries[i] ?? 0, entries[i + 1] ?? 0);
  }

  #set(user: UserId, location: LocationCode): void {
    const before = this.#locations.has(user);
    if (location === 0) this.#locations.delete(user);
    else this.#locations.set(user, location);
    if (before !== (location !== 0)) this.#onChange(user, location !== 0);
  }
}

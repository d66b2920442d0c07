/**
 * A worker's read-only copy of the online map, so that finding a recipient is a local map read.
 * The registry is the only writer. Changes come in order over the link to the registry's thread,
 * after a snapshot; a worker that starts anew gets a new snapshot.
 */

import { WORKER_SPAN } from "../runtime/lane.ts";
import type { NodeId, UserId } from "../ports.ts";

/**
 * Where a user is, as one number: 0 offline; positive, a connection of this node; negative, a
 * worker of another node, see {@linkcode remotePlace}.
 */
export type PlaceCode = number;

/** The code of worker `worker` on the node with local index `nodeIndex`. */
export function remotePlace(nodeIndex: number, worker: number): PlaceCode {
  return -(nodeIndex * WORKER_SPAN + worker + 1);
}

/** The node index of a remote place. */
export function remoteNodeIndex(place: PlaceCode): number {
  return Math.floor((-place - 1) / WORKER_SPAN);
}

/** The worker index of a remote place. */
export function remoteWorker(place: PlaceCode): number {
  return (-place - 1) % WORKER_SPAN;
}

/** What the registry tells replicas. */
export type ReplicaMessage =
  /** Pairs user, place: all that are online. */
  | { readonly type: "snapshot"; readonly entries: readonly number[] }
  /** Pairs user, place (0: offline). */
  | { readonly type: "changes"; readonly entries: readonly number[] }
  /** A node's local index. */
  | { readonly type: "node"; readonly index: number; readonly node: NodeId };

/** The copy. */
export class Replica {
  readonly #places = new Map<UserId, PlaceCode>();
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
    return this.#places.size;
  }

  place(user: UserId): PlaceCode {
    return this.#places.get(user) ?? 0;
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
        const gone = new Set(this.#places.keys());
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

  #set(user: UserId, place: PlaceCode): void {
    const before = this.#places.has(user);
    if (place === 0) this.#places.delete(user);
    else this.#places.set(user, place);
    if (before !== (place !== 0)) this.#onChange(user, place !== 0);
  }
}

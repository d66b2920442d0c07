/**
 * The other nodes that are alive, by what was heard of them. No I/O, no clock: time is beats.
 *
 * Silence alone kills nobody, since it may be this node that is deaf: who is silent gets its lease
 * looked at, and is dead when that is gone.
 */

import type { NodeId } from "../../ports.ts";

/** Beats a node may miss before its lease is looked at. */
const SILENT_BEATS = 3;

/** Live nodes. */
export class Peers {
  /** node ⇒ beat at which it was last heard. */
  readonly #heard = new Map<NodeId, number>();
  #beats = 0;

  /** Beats of this node since its start. */
  get beats(): number {
    return this.#beats;
  }

  /** One beat has passed. */
  beat(): void {
    this.#beats++;
  }

  /** @returns Whether the node is new here. */
  heard(node: NodeId): boolean {
    const isNew = !this.#heard.has(node);
    this.#heard.set(node, this.#beats);
    return isNew;
  }

  /** Those whose leases are worth a look. */
  silent(): NodeId[] {
    return [...this.#heard.keys()].filter((node) => this.isSilent(node));
  }

  isSilent(node: NodeId): boolean {
    const heard = this.#heard.get(node);
    return heard !== undefined && this.#beats - heard > SILENT_BEATS;
  }

  /** @returns Whether it was known. */
  forget(node: NodeId): boolean {
    return this.#heard.delete(node);
  }
}

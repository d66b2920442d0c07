/**
 * Holds everything that takes a place and on which nobody is logged in: connections, TLS handshakes,
 * sockets before their PROXY header. When it is full, the oldest of the address with most makes room:
 * however many places a stranger takes, a newcomer from elsewhere finds one.
 *
 * An address is what {@linkcode networkOf} makes of it. Entering and leaving cost the same however
 * many there are.
 */

import { networkOf } from "../settings/ip_address.ts";

/** Somebody who waits. Told from others by identity. */
export interface Waiting {
  readonly remote: string;
  /** Has to give its place up: it is out of the room already. */
  readonly evict: () => void;
}

/** See the module's header. */
export class WaitingRoom {
  readonly #max: number;
  /** Address ⇒ who waits, the oldest first. */
  readonly #networks = new Map<string, Set<Waiting>>();
  /** Number of entries ⇒ addresses that have so many. */
  readonly #bySize = new Map<number, Set<string>>();
  #size = 0;
  /** The greatest number of entries of one address, or more. */
  #most = 0;
  /** Entries that had to make room, for metrics. */
  evicted = 0;

  /** @param max Entries; 0: no limit. */
  constructor(max: number) {
    this.#max = max;
  }

  /** Entries. */
  get size(): number {
    return this.#size;
  }

  /** Entries of an address. */
  of(remote: string): number {
    return this.#networks.get(networkOf(remote))?.size ?? 0;
  }

  /** Takes one more in; if there is no place, another is put out. */
  enter(waiting: Waiting): void {
    const network = networkOf(waiting.remote);
    const all = this.#networks.get(network) ?? new Set();
    this.#networks.set(network, all);
    all.add(waiting);
    this.#size++;
    this.#resized(network, all.size - 1, all.size);
    if (this.#max > 0 && this.#size > this.#max) this.#makeRoom();
  }

  /** Lets one go that has logged in or is no more; nothing happens to one that is not here. */
  leave(waiting: Waiting): void {
    const network = networkOf(waiting.remote);
    const all = this.#networks.get(network);
    if (all === undefined || !all.delete(waiting)) return;
    this.#size--;
    if (all.size === 0) this.#networks.delete(network);
    this.#resized(network, all.size + 1, all.size);
  }

  #resized(network: string, before: number, after: number): void {
    const old = this.#bySize.get(before);
    if (old?.delete(network) && old.size === 0) this.#bySize.delete(before);
    if (after > this.#most) this.#most = after;
    if (after === 0) return;
    const now = this.#bySize.get(after) ?? new Set();
    this.#bySize.set(after, now.add(network));
  }

  #makeRoom(): void {
    // It has only grown by what entered since it was right, so that this costs no more than that.
    while (this.#most > 1 && !this.#bySize.has(this.#most)) this.#most--;
    const [network = ""] = this.#bySize.get(this.#most) ?? [];
    const [oldest] = this.#networks.get(network) ?? [];
    if (oldest === undefined) return;
    this.leave(oldest);
    this.evicted++;
    oldest.evict();
  }
}

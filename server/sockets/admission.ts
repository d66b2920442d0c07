/**
 * Decides who may connect: counts connections in all and per address. Counts only; the gateway opens
 * and closes. Who has not logged in makes room for others in the waiting room.
 */

import type { Limits } from "../settings/config.ts";
import { WIDE_FACTOR } from "../../actors/accounts/guard.ts";
import { networkOf, wideNetworkOf } from "../settings/ip_address.ts";

/** See the module's header. */
export class Admission {
  readonly #limits: Limits;
  /** By {@linkcode networkOf} and {@linkcode wideNetworkOf}. */
  readonly #perAddress = new Map<string, number>();
  #connections = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Connections admitted and not released. */
  get connections(): number {
    return this.#connections;
  }

  /**
   * Whether one more connection from `remote` may begin.
   * @param early Those not admitted yet, in a handshake or before a PROXY header: in all, and from
   * this address.
   * @returns Undefined, or one sentence on why not.
   */
  refusal(
    remote: string,
    early: { readonly all: number; readonly here: number },
  ): string | undefined {
    const { connections, perAddress, unlimited } = this.#limits;
    if (over(this.#connections + early.all, connections)) return "this node is full";
    if (unlimited.has(remote)) return undefined;
    const from = (this.#perAddress.get(networkOf(remote)) ?? 0) + early.here;
    const wide = wideNetworkOf(remote);
    const around = wide === undefined ? 0 : this.#perAddress.get(wide) ?? 0;
    if (over(from, perAddress) || over(around, WIDE_FACTOR * perAddress)) {
      return "too many connections from this address";
    }
    return undefined;
  }

  /** Counts a connection in that was not refused. */
  admit(remote: string): void {
    this.#connections++;
    this.#count(remote, 1);
  }

  /** Counts an admitted connection out. */
  release(remote: string): void {
    this.#connections--;
    this.#count(remote, -1);
  }

  #count(remote: string, by: number): void {
    const wide = wideNetworkOf(remote);
    for (const network of wide === undefined ? [networkOf(remote)] : [networkOf(remote), wide]) {
      const count = (this.#perAddress.get(network) ?? 0) + by;
      if (count > 0) this.#perAddress.set(network, count);
      else this.#perAddress.delete(network);
    }
  }
}

/** Whether one more would pass the limit; 0 is no limit. */
function over(count: number, limit: number): boolean {
  return limit > 0 && count >= limit;
}

/**
 * Decides who may connect: counts connections in all and per address. Counts only; the gateway opens
 * and closes. Who has not logged in makes room for others in the waiting room.
 */

import type { Limits } from "../settings/config.ts";
import { networkOf } from "../settings/ip_address.ts";

/** See the module's header. */
export class Admission {
  readonly #limits: Limits;
  /** By {@linkcode networkOf}. */
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
    const from = (this.#perAddress.get(networkOf(remote)) ?? 0) + early.here;
    if (over(from, perAddress) && !unlimited.has(remote)) {
      return "too many connections from this address";
    }
    return undefined;
  }

  /** Counts a connection in that was not refused. */
  admit(remote: string): void {
    this.#connections++;
    const network = networkOf(remote);
    this.#perAddress.set(network, (this.#perAddress.get(network) ?? 0) + 1);
  }

  /** Counts an admitted connection out. */
  release(remote: string): void {
    this.#connections--;
    const network = networkOf(remote);
    const from = (this.#perAddress.get(network) ?? 1) - 1;
    if (from === 0) this.#perAddress.delete(network);
    else this.#perAddress.set(network, from);
  }
}

/** Whether one more would pass the limit; 0 is no limit. */
function over(count: number, limit: number): boolean {
  return limit > 0 && count >= limit;
}

/**
 * Decides who may connect: counts connections in all, per address, and not logged in yet. Counts
 * only; the gateway opens and closes.
 */

import type { Limits } from "../settings/config.ts";
import { networkOf } from "../settings/ip_address.ts";

/** What the counters see of a connection. */
export interface Admitted {
  readonly remote: string;
  /** Somebody is logged in on it. */
  readonly loggedIn: boolean;
}

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
   * Whether one more connection may begin, whoever it is from.
   * @param waiting Connections that have not logged in; those not admitted yet included.
   * @param early Of those, the ones not admitted yet: in a handshake, or before a PROXY header.
   * @returns Undefined, or one sentence on why not.
   */
  refusal(waiting: number, early: number): string | undefined {
    const { connections, waiting: mostWaiting } = this.#limits;
    if (over(this.#connections + early, connections)) return "this node is full";
    if (over(waiting, mostWaiting)) return "too many connections have not logged in yet";
    return undefined;
  }

  /**
   * Counts a connection from `remote` in; `waiting` and `early` as for {@linkcode refusal}.
   * @returns Undefined, or one sentence on why it is not admitted (and not counted).
   */
  admit(remote: string, waiting: number, early: number): string | undefined {
    const { perAddress, unlimited } = this.#limits;
    const refusal = this.refusal(waiting, early);
    if (refusal !== undefined) return refusal;
    const network = networkOf(remote);
    const from = this.#perAddress.get(network) ?? 0;
    if (over(from, perAddress) && !unlimited.has(remote)) {
      return "too many connections from this address";
    }
    this.#connections++;
    this.#perAddress.set(network, from + 1);
    return undefined;
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

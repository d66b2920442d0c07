/**
 * Holds a client's one socket, and the calls that wait until there is one. It opens and closes
 * nothing.
 *
 * Invariants: at most one socket, and none that has closed; who waits is answered by the next attempt:
 * with its socket, or with why there is none.
 */

import { ConnectionLost } from "./errors.ts";
import type { Socket } from "./transport.ts";

/** Where the socket of one client is. */
export class SocketSlot {
  #socket: Socket | undefined;
  #closed = Promise.withResolvers<string>();
  #waiters: PromiseWithResolvers<Socket>[] = [];

  /** The socket, while there is one. */
  get socket(): Socket | undefined {
    return this.#socket;
  }

  /** Resolves with the reason when the socket put last has closed. */
  get closed(): Promise<string> {
    return this.#closed.promise;
  }

  /** A connection is made; those who wait have to wait until {@linkcode pass}. */
  put(socket: Socket): void {
    this.#closed = Promise.withResolvers<string>();
    this.#socket = socket;
  }

  /** The socket has closed. */
  empty(reason: string): void {
    this.#socket = undefined;
    this.#closed.resolve(reason);
  }

  /** Somebody waits for it. */
  get isAwaited(): boolean {
    return this.#waiters.length > 0;
  }

  /** Resolves with the next socket; rejects with {@linkcode ConnectionLost} when there is none. */
  wait(): Promise<Socket> {
    const waiter = Promise.withResolvers<Socket>();
    this.#waiters.push(waiter);
    return waiter.promise;
  }

  /** The attempt has succeeded; if its socket has closed again, it has not. */
  pass(): void {
    const socket = this.#socket;
    if (socket === undefined) return this.fail("the connection was lost");
    for (const waiter of this.#take()) waiter.resolve(socket);
  }

  /** The attempt has failed. */
  fail(reason: string): void {
    for (const waiter of this.#take()) waiter.reject(new ConnectionLost(reason));
  }

  #take(): PromiseWithResolvers<Socket>[] {
    const waiters = this.#waiters;
    this.#waiters = [];
    return waiters;
  }
}

/**
 * Calls that wait for a connection to be there. Each is answered by the next attempt: with its socket,
 * or with why there is none.
 */

import { ConnectionLost } from "./errors.ts";
import type { Socket } from "./socket.ts";

/** Who waits for the socket of one client. */
export class SocketWaiters {
  #waiters: PromiseWithResolvers<Socket>[] = [];

  /** Resolves with the next socket; rejects with {@linkcode ConnectionLost} when there is none. */
  wait(): Promise<Socket> {
    const waiter = Promise.withResolvers<Socket>();
    this.#waiters.push(waiter);
    return waiter.promise;
  }

  /** There is a socket; one that has closed again is none. */
  pass(socket: Socket): void {
    for (const waiter of this.#take()) {
      if (socket.closed) waiter.reject(new ConnectionLost("the connection was lost"));
      else waiter.resolve(socket);
    }
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

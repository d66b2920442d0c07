/**
 * Notices a server that has fallen silent, and keeps telling it that this side is alive.
 *
 * Invariant: it closes only a socket on which nothing was heard for the time named; a pause of this
 * process is not the server's silence.
 */

import { MSGID } from "@chat/wire/messages.ts";
import type { Clock } from "./clock.ts";
import type { Socket } from "./transport.ts";

/** Heartbeat in seconds when the server names none. */
const DEFAULT_HEARTBEAT_S = 30;

/** The timers that watch the server of one client. */
export class Heartbeat {
  readonly #clock: Clock;
  #stopWatch: (() => void) | undefined;
  #stopProbe: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Watches the socket of a session, instead of what was watched before. */
  watch(socket: Socket, heartbeatS = DEFAULT_HEARTBEAT_S): void {
    this.#stopWatch?.();
    this.#stopWatch = watch(socket, this.#clock, heartbeatS * 1000);
  }

  /** The session has ended; a probe goes on. */
  unwatch(): void {
    this.#stopWatch?.();
  }

  /** Closes the socket unless the server is heard within so many ms; one probe at a time. */
  probe(socket: Socket, withinMs: number): void {
    if (this.#stopProbe !== undefined) return;
    const onEnd = () => this.#stopProbe = undefined;
    this.#stopProbe = probe(socket, this.#clock, withinMs, onEnd);
  }

  /** The socket is gone. */
  stop(): void {
    this.#stopWatch?.();
    this.#stopProbe?.();
    this.#stopProbe = undefined;
  }
}

/**
 * Looks twice a heartbeat whether the server has been heard. Silence of half a heartbeat is answered
 * with a PING, one and a half mean that the connection is dead: noticed within two.
 *
 * @returns What stops it.
 */
function watch(socket: Socket, clock: Clock, heartbeatMs: number): () => void {
  const tickMs = heartbeatMs / 2;
  let lastTickMs = clock.now();
  const tick = () => {
    if (socket.closed) return;
    const now = clock.now();
    // After a pause of this process (SIGSTOP, suspend) the answer may lie unread in the socket.
    const late = now - lastTickMs > 1.5 * tickMs;
    lastTickMs = now;
    const silentMs = now - socket.lastHeardMs;
    // A tenth of a tick covers timers that fire a little early.
    if (!late && silentMs > 1.5 * heartbeatMs - tickMs / 10) {
      return socket.close("the server has fallen silent");
    }
    if (silentMs > 0.4 * heartbeatMs) socket.send({ msgid: MSGID.PING });
    stop = clock.after(tickMs, tick);
  };
  let stop = clock.after(tickMs, tick);
  return () => stop();
}

/**
 * Asks for a sign of life now: a server that gives none in time is gone.
 *
 * @param onEnd Called once, unless it is stopped before.
 * @returns What stops it.
 */
function probe(
  socket: Socket,
  clock: Clock,
  withinMs: number,
  onEnd: () => void,
): () => void {
  const askedMs = clock.now();
  socket.send({ msgid: MSGID.PING });
  return clock.after(withinMs, () => {
    onEnd();
    const late = clock.now() - askedMs > 2 * withinMs; // as above
    if (!late && socket.lastHeardMs < askedMs) socket.close("the server has fallen silent");
  });
}

/**
 * Notices a server that has fallen silent, and keeps telling it that this side is alive.
 */

import { MSGID } from "@chat/wire/messages.ts";
import type { Clock } from "./clock.ts";
import type { Socket } from "./socket.ts";

/**
 * Looks twice a heartbeat whether the server has been heard. Silence of half a heartbeat is answered
 * with a PING, one and a half mean that the connection is dead: noticed within two.
 *
 * @returns What stops it.
 */
export function watch(socket: Socket, clock: Clock, heartbeatMs: number): () => void {
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
export function probe(
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

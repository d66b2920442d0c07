/** One server connection without a server: its socket is the test's, its limits leave room. */

import type { CloseReason } from "../../server/sockets/close_reason.ts";
import { Connection, type Socket } from "../../server/sockets/connection.ts";
import type { FakeClock } from "./fake_clock.ts";

/** What a test gives to a connection. */
export interface LoneParts {
  readonly conn: number;
  readonly socket: Pick<Socket, "read" | "write">;
  readonly clock: FakeClock;
  /** @default the clock's */
  readonly now?: () => number;
  readonly onClosed: (reason: CloseReason) => void;
}

/** It takes no frames anywhere and reads nothing until it is run. */
export function loneConnection({ conn, socket, clock, now, onClosed }: LoneParts): Connection {
  return new Connection(
    conn,
    { ...socket, close: () => {} },
    "",
    { maxQueuedBytes: 1_000, maxFrameBytes: 1_000, maxUnfinished: 100, framesPerTick: 0 },
    { onFrame: () => {}, onWritten: () => {}, onClosed: (_, reason) => onClosed(reason) },
    now ?? (() => clock.now()),
    (ms, fn) => clock.after(ms, fn),
  );
}

/** PING and PONG: either side asks whether the other is still there. */

import { MSGID, Ping, Pong } from "@chat/wire/messages.ts";
import { echo, entry, type Handler, type Requests } from "./types.ts";

// PING → PONG
const ping: Handler<Ping> = (session, m, host) =>
  host.reply(session, { msgid: MSGID.PONG, ...echo(m) });

/** Rows of the handler table. */
export const LIFE_REQUESTS: Requests = {
  both: [
    [MSGID.PING, entry("any", Ping, ping)],
    // Any byte counts as a sign of life where the socket is; a PONG needs nothing more.
    [MSGID.PONG, entry("any", Pong, () => {})],
  ],
};

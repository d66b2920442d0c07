/**
 * A flood from a thread of its own, so that whoever measures beside it measures the server. Begins
 * at the first message and ends at the second, which is answered with how many there were.
 */

import { MSGID } from "@chat/wire/messages.ts";
import { TestPeer } from "./test_peer.ts";

/** What is flooded, and with what. */
export interface Flood {
  readonly port: number;
  readonly kind: "log-ins" | "connections";
}

const self = globalThis as unknown as Worker;
/** Clients at once. */
const CLIENTS = 8;
/** Pause of each client between two connections, ms: else one core is the flood's alone. */
const PAUSE_MS = 5;

const FLOODS: Record<Flood["kind"], (port: number, name: string) => Promise<void>> = {
  // Real hashing: 128 may wait, more are told to come back.
  async "log-ins"(port, name) {
    await using peer = await TestPeer.connect(port);
    await peer.ask({ msgid: MSGID.LOGIN, v: 2, name, password: "wrong" });
  },
  async "connections"(port) {
    await using peer = await TestPeer.connect(port);
    await peer.fence();
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  },
};

let ended = false;

async function flood({ port, kind }: Flood): Promise<void> {
  let count = 0;
  const clients = Array.from({ length: CLIENTS }, async (_, n) => {
    for (let i = 0; !ended; i++) {
      await FLOODS[kind](port, `${n} ${i}`);
      count++;
    }
  });
  await Promise.all(clients);
  self.postMessage(count);
}

self.onmessage = ({ data }: MessageEvent<Flood | "end">) => {
  if (data === "end") ended = true;
  else void flood(data); // a failure ends the thread, which the test is told
};

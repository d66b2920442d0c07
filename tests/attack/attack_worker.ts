/** Thread entry: runs one attack, so that what it costs the attacker does not look like the server's. */

import { Rng } from "../chaos/rng.ts";
import { ATTACKS, type Target } from "./attacks.ts";
import { RawPeer } from "../support/raw_peer.ts";

/** What the worker is told. */
export interface Order {
  readonly name: string;
  readonly seed: string;
  readonly target: Omit<Target, "rng">;
}

/** What it says when the attack is over. */
export interface Over {
  readonly error: string | undefined;
  /** Connections opened and bytes sent. */
  readonly work: { readonly connections: number; readonly bytes: number };
}

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<Order>) => void;
  postMessage(message: Over | "ready"): void;
};
scope.onmessage = async ({ data: { name, seed, target } }) => {
  let error: string | undefined;
  try {
    await ATTACKS[name]?.run({ ...target, rng: new Rng(seed) });
  } catch (cause) {
    error = String(cause);
  }
  scope.postMessage({ error, work: RawPeer.work });
};
scope.postMessage("ready");

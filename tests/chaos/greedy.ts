/**
 * The greedy neighbour of a chaos run: one user who floods people and groups, fans out to those who
 * are away, asks for whatever costs most, and hangs up and comes back all the time. Nobody judges what
 * it gets; what the others get must not suffer.
 */

import { delay } from "@std/async/delay";
import { MSGID } from "@chat/wire/messages.ts";
import { type Client, connect } from "../../client/mod.ts";
import { RawPeer } from "../support/raw_peer.ts";
import type { Rng } from "./rng.ts";

/** Texts of its messages begin so: simulated users pass them over. */
export const GREEDY_TEXT = "greedy ";

const NAME = "greedy";
const PASSWORD = "greedy password";
/** Accounts of its own that never come: members of its group. */
const AWAY = 24;
/** Frames in a burst, and the time between two bursts, ms: about as many frames as all others send. */
const BURST = 20;
const BURST_EVERY_MS = 50;
/** It hangs up after so many bursts at most. */
const MAX_BURSTS = 60;
/** Wait before it comes back, ms. */
const BACK_MS = 20;

/** What it did. */
export interface GreedyCounts {
  readonly connections: number;
  readonly frames: number;
}

/** See the module's header. */
export class GreedyNeighbour {
  readonly #port: number;
  readonly #id: number;
  readonly #group: number;
  readonly #targets: readonly number[];
  readonly #rng: Rng;
  #connections = 0;
  #frames = 0;
  #ends = false;
  #life: Promise<void> = Promise.resolve();

  private constructor(port: number, id: number, group: number, targets: number[], rng: Rng) {
    this.#port = port;
    this.#id = id;
    this.#group = group;
    this.#targets = targets;
    this.#rng = rng;
  }

  /**
   * Makes its accounts and its group on a running server.
   * @param innocents Users whom it writes to as well.
   */
  static async prepare(
    port: number,
    innocents: readonly number[],
    rng: Rng,
  ): Promise<GreedyNeighbour> {
    const register = (name: string) =>
      withClient(port, (client) => client.register(name, PASSWORD));
    const id = await register(NAME);
    const away: number[] = [];
    for (let n = 0; n < AWAY; n++) away.push(await register(`${NAME} ${n}`));
    const group = await withClient(port, async (client) => {
      await client.login({ id, password: PASSWORD });
      return (await client.createGroup(NAME)).id;
    });
    for (const member of away) {
      await withClient(port, async (client) => {
        await client.login({ id: member, password: PASSWORD });
        await client.joinGroup(group);
      });
    }
    const targets = [...away, ...rng.shuffled([...innocents]).slice(0, 3)];
    return new GreedyNeighbour(port, id, group, targets, rng);
  }

  /** Begins. */
  start(): void {
    this.#life = this.#live();
  }

  /** Ends it. @returns What it did. */
  async stop(): Promise<GreedyCounts> {
    this.#ends = true;
    await this.#life;
    return { connections: this.#connections, frames: this.#frames };
  }

  async #live(): Promise<void> {
    while (!this.#ends) {
      try {
        const peer = await RawPeer.open(this.#port, undefined);
        this.#connections++;
        await this.#flood(peer);
        peer.close();
      } catch { // what it asks for fails under faults, and it comes again
      }
      await delay(BACK_MS);
    }
  }

  async #flood(peer: RawPeer): Promise<void> {
    await peer.send({ msgid: MSGID.LOGIN, v: 2, id: this.#id, password: PASSWORD });
    for (let bursts = this.#rng.int(1, MAX_BURSTS); bursts > 0; bursts--) {
      const frames = Array.from({ length: BURST }, () => JSON.stringify(this.#frame()));
      if (this.#ends || !await peer.write(`${frames.join("\n")}\n`)) return;
      this.#frames += BURST;
      await delay(BURST_EVERY_MS);
    }
    if (this.#rng.chance(0.5)) await peer.send({ msgid: MSGID.LOGOUT });
  }

  #frame(): object {
    const n = this.#frames;
    const cid = `${n} ${this.#rng.int(0, 1e9)}`;
    const msg = `${GREEDY_TEXT}${"x".repeat(this.#rng.int(0, 400))}`;
    const groupid = this.#group;
    const kind = this.#rng.int(0, 9);
    if (kind < 4) return { msgid: MSGID.GROUP_CHAT, groupid, cid, msg };
    if (kind < 8) {
      return { msgid: MSGID.ONE_CHAT, toid: this.#rng.pick([...this.#targets]), cid, msg };
    }
    if (kind === 8) return { msgid: MSGID.TYPING, groupid };
    return { msgid: MSGID.HISTORY, groupid, limit: 200, req: n };
  }
}

async function withClient<T>(port: number, act: (client: Client) => Promise<T>): Promise<T> {
  const client = await connect({ port, want: [] });
  try {
    return await act(client);
  } finally {
    await client.close();
  }
}

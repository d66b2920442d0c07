/**
 * One simulated user, over as many processes as it takes: sends, answers, reads, comes and goes
 * through the client library. What it did and saw is in its record.
 *
 * It does what a careful program would: its outbox and token are files, and it knows from its own
 * record which messages an earlier process of it had seen.
 */

import { join } from "@std/path";
import { delay } from "@std/async/delay";
import {
  type Client,
  type ClientEvent,
  connect,
  ConnectionLost,
  type Message,
  OutboxFull,
  RequestError,
  type Target,
} from "../../client/mod.ts";
import { GREEDY_TEXT } from "./greedy.ts";
import { readHistories } from "./history_reader.ts";
import { type Key, type Person, type Plan, textOf } from "./plan.ts";
import { Rng } from "./rng.ts";
import { UserRecord } from "./user_record.ts";

/** Most messages without an acknowledgement: an outage must not fill memory. */
const WINDOW = 64;
/** How often it looks whether something is to be sent, ms. */
const TICK_MS = 40;
/** Most messages sent at one look. */
const BURST = 32;
/** Of messages, those to a group; of messages read, those answered. */
const GROUP_SHARE = 0.3;
const REPLY_SHARE = 0.12;
/** Between attempts to log in, ms. */
const RETRY_MS = 200;

const TokenFile = /^(\d+) (\S+)$/;

/** See the module's header. */
export class SimUser {
  readonly person: Person;
  readonly record: UserRecord;
  readonly #plan: Plan;
  readonly #rng: Rng;
  readonly #tokenPath: string;
  /** Sends whose promise has not settled. */
  #queueing = 0;
  #client: Client | undefined;
  #reading: Promise<void> | undefined;
  #mode: "idle" | "run" | "drain" | "left" = "idle";
  #since = 0;
  /** No sending while it is away. */
  #away = false;
  #life: Promise<void> | undefined;

  constructor(plan: Plan, person: Person) {
    this.person = person;
    this.#plan = plan;
    this.record = new UserRecord(person.id, join(plan.dir, `${person.id}.ndjson`));
    this.#tokenPath = join(plan.dir, `${person.id}.token`);
    this.#rng = new Rng(`${plan.seed} ${person.id} ${this.record.clients}`);
  }

  /** Messages that wait for an acknowledgement. */
  get unsent(): number {
    return (this.#client?.unsent.length ?? 0) + this.#queueing;
  }

  get online(): boolean {
    return this.#client?.state === "online";
  }

  /** Logs in, by its token or by password, for as long as that takes. */
  async arrive(): Promise<void> {
    await this.#enter();
  }

  /** Sends, answers, comes and goes. */
  run(since: number): void {
    if (this.#mode !== "idle") return;
    this.#mode = "run";
    this.#since = since;
    this.#life = Promise.all([this.#talk(), this.#wander()]).then(() => {});
  }

  /** Sends nothing new; is there. */
  async drain(): Promise<void> {
    this.#mode = "drain";
    await this.#life;
    await this.#enter();
  }

  /** Reads back every conversation it is in. */
  async readHistories(): Promise<void> {
    const client = () => {
      if (this.#client === undefined) throw new Error(`user ${this.person.id} has left`);
      return this.#client;
    };
    await readHistories(this.#plan, this.person, client, this.record);
  }

  /** Ends its session for good. */
  async leave(how: "logout" | "close"): Promise<void> {
    this.#mode = "left";
    const client = this.#client;
    if (client === undefined) return;
    if (how === "logout") await client.logout();
    this.record.left(how);
    await this.#close();
  }

  /** Releases everything. */
  async end(): Promise<void> {
    this.#mode = "left";
    await this.#life;
    await this.#close();
    this.record.close();
  }

  // ── being there ────────────────────────────────────────────────────────────────────────────

  async #enter(): Promise<void> {
    for (;;) {
      try {
        if (this.#client === undefined) await this.#open();
        else if (isOut(this.#client)) {
          const { id } = this.person;
          await this.#client.login({ id, password: this.#plan.password });
        }
        if (this.online) {
          this.#away = false;
          return;
        }
      } catch (error) {
        if (!(error instanceof ConnectionLost || error instanceof RequestError)) throw error;
        this.record.state("refused", error.message);
      }
      await delay(RETRY_MS);
    }
  }

  /** A client of its own, with what an earlier one left. */
  async #open(): Promise<void> {
    const { id, name, habit } = this.person;
    const token = this.#rng.chance(0.7) ? this.#token() : undefined;
    const slow = habit === "slow";
    this.record.client();
    const client = await connect({
      port: this.#plan.port,
      outboxFile: join(this.#plan.dir, `${id}.outbox`),
      want: [],
      ...token !== undefined && { resume: { token, id, name } },
      ...!slow && { onEvent: (event: ClientEvent) => this.#take(event) },
    });
    this.#client = client;
    this.record.unsent(client.unsent);
    if (slow) this.#reading = this.#readSlowly(client);
    if (token === undefined) await client.login({ id, password: this.#plan.password });
  }

  async #close(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.close();
    await this.#reading;
    this.#reading = undefined;
  }

  #token(): string | undefined {
    try {
      const [, id, token] = TokenFile.exec(Deno.readTextFileSync(this.#tokenPath)) ?? [];
      return Number(id) === this.person.id ? token : undefined; // a torn file: password then
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  }

  /** Comes and goes, as its habit is, and comes back when the library has given up. */
  async #wander(): Promise<void> {
    while (this.#mode === "run") {
      await delay(this.#rng.int(200, 1_000));
      if (this.#mode !== "run") return;
      const commutes = this.person.habit === "commuter" && this.#rng.chance(0.08);
      if (commutes) await this.#commute();
      else if (this.#client !== undefined && isOut(this.#client)) await this.#enter();
    }
  }

  async #commute(): Promise<void> {
    this.#away = true;
    while (this.#queueing > 0) await delay(10);
    if (this.#rng.chance(0.5)) {
      try {
        await this.#client?.logout();
      } catch (error) {
        if (!(error instanceof ConnectionLost || error instanceof RequestError)) throw error;
        this.record.state("no logout", error.message);
      }
    } else await this.#close();
    await delay(this.#rng.int(50, 3_000));
    await this.#enter();
  }

  // ── events ─────────────────────────────────────────────────────────────────────────────────

  /** Takes its time; a message counts as dealt with when the loop comes back. */
  async #readSlowly(client: Client): Promise<void> {
    for await (const event of client) {
      this.#take(event);
      if (event.type !== "message" || this.#mode !== "run") continue;
      if (this.#rng.chance(0.002)) await delay(this.#rng.int(1_000, 4_000));
      else if (this.#rng.chance(0.1)) await delay(this.#rng.int(1, 40));
    }
  }

  #take(event: ClientEvent): void {
    switch (event.type) {
      case "message":
        return this.#see(event.message);
      case "sent":
        return this.record.acknowledged(event);
      case "failed":
        return this.record.failed(event);
      case "session":
        Deno.writeTextFileSync(this.#tokenPath, `${event.session.id} ${event.session.token}`);
        return;
      case "connection":
        return this.record.state(event.state, event.reason);
      case "bye":
        return this.record.state("bye", event.errmsg);
      case "error":
        return this.record.state("error", event.errmsg);
    }
  }

  /** Notes a message, and sometimes answers it. */
  #see(message: Message): void {
    if (message.msg.startsWith(GREEDY_TEXT)) return;
    const said = this.record.see(message);
    const answers = said !== undefined && this.#mode === "run" && !this.#away &&
      this.#rng.chance(said.re === undefined ? REPLY_SHARE : REPLY_SHARE / 4);
    if (answers && this.unsent < 2 * WINDOW) {
      const { id: from, groupid } = message;
      const target: Target = groupid === undefined
        ? { kind: "user", id: from }
        : { kind: "group", id: groupid };
      this.#send(target, { from, n: said.n });
    }
  }

  // ── sending ────────────────────────────────────────────────────────────────────────────────

  /** Sends at its rate since the run began; what an outage kept back follows. */
  async #talk(): Promise<void> {
    while (this.#mode === "run") {
      const due = this.#plan.rate * (Date.now() - this.#since) / 1_000 - this.record.sent;
      const room = WINDOW - this.unsent;
      for (let i = Math.min(due, room, BURST); i >= 1 && !this.#away; i--) {
        this.#send(this.#target(), undefined);
      }
      await delay(TICK_MS);
    }
    while (this.#queueing > 0) await delay(10);
  }

  #target(): Target {
    const { id, peers } = this.person;
    const groups = this.#plan.circles.filter((c) => c.members.includes(id));
    if (groups.length > 0 && this.#rng.chance(GROUP_SHARE)) {
      return { kind: "group", id: this.#rng.pick(groups).id };
    }
    return { kind: "user", id: this.#rng.pick(peers) };
  }

  #send(target: Target, re: Key | undefined): void {
    const client = this.#client;
    if (client === undefined) return;
    const n = this.record.send(target, re);
    this.#queueing++;
    client.send(target, textOf(this.person.id, n, re)).then(({ cid }) => {
      this.#queueing--;
      this.record.queued(n, cid);
    }, (error) => {
      this.#queueing--;
      const expected = error instanceof OutboxFull || error instanceof RequestError ||
        error instanceof ConnectionLost;
      if (!expected) throw error;
      this.record.untaken(n, error.message);
    });
  }
}

/** It does not come back by itself. */
function isOut(client: Client): boolean {
  return client.state === "offline" || client.loginNeeded;
}

/**
 * One simulated user, over as many processes as it takes: sends, answers, reads, comes and goes
 * through the client library, and writes down what it did and saw.
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
import {
  groupConv,
  type Key,
  pairConv,
  parseText,
  type Person,
  type Plan,
  textOf,
} from "./plan.ts";
import { type Line, readRecord, Recorder } from "./record.ts";
import { Rng } from "./rng.ts";

/** Most messages without an acknowledgement: an outage must not fill memory. */
const WINDOW = 64;
/** How often it looks whether something is to be sent, ms. */
const TICK_MS = 40;
/** Most messages sent at one look. */
const BURST = 32;
/** Of messages, those to a group; of messages read, those answered. */
const GROUP_SHARE = 0.3;
const REPLY_SHARE = 0.12;
/** A numbering that is continued leaves room for numbers whose line was torn. */
const TORN_ROOM = 100;
/** Between attempts to log in, ms. */
const RETRY_MS = 200;
/** Messages of one page of history. */
const PAGE = 200;

const TokenFile = /^(\d+) (\S+)$/;

/** See the module's header. */
export class SimUser {
  readonly person: Person;
  readonly #plan: Plan;
  readonly #recorder: Recorder;
  readonly #rng: Rng;
  readonly #tokenPath: string;
  /** Seen through earlier clients, of this process and of those before. */
  readonly #before = new Set<string>();
  /** Seen through the present client, which has to know repeats by itself. */
  #now = new Set<string>();
  #clients = 0;
  /** cid ⇒ number, of what is not acknowledged. */
  readonly #open = new Map<string, number>();
  /** Sends whose promise has not settled. */
  #queueing = 0;
  #next = 1;
  #client: Client | undefined;
  #reading: Promise<void> | undefined;
  #mode: "idle" | "run" | "drain" | "left" = "idle";
  #since = 0;
  /** No sending while it is away. */
  #away = false;
  #life: Promise<void> | undefined;
  sent = 0;
  acked = 0;
  seen = 0;
  /** When a message was last seen, epoch ms. */
  seenAt = 0;

  constructor(plan: Plan, person: Person) {
    this.person = person;
    this.#plan = plan;
    const path = join(plan.dir, `${person.id}.ndjson`);
    this.#tokenPath = join(plan.dir, `${person.id}.token`);
    for (const line of readRecord(path)) {
      if (line.k === "client") this.#clients = line.number;
      if (line.k === "send") {
        this.#next = Math.max(this.#next, line.n + TORN_ROOM);
        this.sent++;
      }
      if (line.k === "acked") this.acked++;
      if (line.k === "seen") {
        this.#before.add(`${line.from}.${line.n}`);
        this.seen++;
      }
    }
    this.#rng = new Rng(`${plan.seed} ${person.id} ${this.#clients}`);
    this.#recorder = new Recorder(path);
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
    const { id } = this.person;
    const targets: { conv: string; target: Target }[] = [];
    for (const other of this.#plan.people) {
      const linked = this.person.peers.includes(other.id) || other.peers.includes(id);
      if (!linked || other.id === id) continue;
      targets.push({ conv: pairConv(id, other.id), target: { kind: "user", id: other.id } });
    }
    for (const circle of this.#plan.circles) {
      if (!circle.members.includes(id)) continue;
      targets.push({ conv: groupConv(circle.id), target: { kind: "group", id: circle.id } });
    }
    for (const { conv, target } of targets) await this.#readHistory(conv, target);
  }

  /** Ends its session for good. */
  async leave(how: "logout" | "close"): Promise<void> {
    this.#mode = "left";
    const client = this.#client;
    if (client === undefined) return;
    if (how === "logout") await client.logout();
    this.#note({ k: "left", t: Date.now(), user: this.person.id, how });
    await this.#close();
  }

  /** Releases everything. */
  async end(): Promise<void> {
    this.#mode = "left";
    await this.#life;
    await this.#close();
    this.#recorder.close();
  }

  #note(line: Line): void {
    this.#recorder.add(line);
  }

  // ── being there ────────────────────────────────────────────────────────────────────────────

  async #enter(): Promise<void> {
    for (;;) {
      try {
        if (this.#client === undefined) await this.#open_();
        else if (this.#client.state === "offline" || this.#client.session === undefined) {
          const { id } = this.person;
          await this.#client.login({ id, password: this.#plan.password });
        }
        if (this.online) {
          this.#away = false;
          return;
        }
      } catch (error) {
        if (!(error instanceof ConnectionLost || error instanceof RequestError)) throw error;
        this.#note({ k: "state", t: Date.now(), state: "refused", why: error.message });
      }
      await delay(RETRY_MS);
    }
  }

  /** A client of its own, with what an earlier one left. */
  async #open_(): Promise<void> {
    const { id, name, habit } = this.person;
    const token = this.#rng.chance(0.7) ? this.#token() : undefined;
    const slow = habit === "slow";
    for (const name of this.#now) this.#before.add(name);
    this.#now = new Set();
    this.#note({ k: "client", t: Date.now(), number: ++this.#clients });
    const client = await connect({
      port: this.#plan.port,
      outboxFile: join(this.#plan.dir, `${id}.outbox`),
      want: [],
      ...token !== undefined && { resume: { token, id, name } },
      ...!slow && { onEvent: (event: ClientEvent) => this.#take(event) },
    });
    this.#client = client;
    this.#open.clear();
    for (const chat of client.unsent) {
      const said = parseText(chat.msg);
      if (said !== undefined) this.#open.set(chat.cid, said.n);
    }
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
      else if (this.#client?.state === "offline") await this.#enter();
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
        this.#note({ k: "state", t: Date.now(), state: "no logout", why: error.message });
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
      case "sent": {
        const n = this.#number(event.cid, event.msg);
        this.#note({ k: "acked", t: Date.now(), n, mid: event.mid });
        this.acked++;
        return;
      }
      case "failed": {
        const n = this.#number(event.cid, event.msg);
        this.#note({ k: "failed", t: Date.now(), n, errno: event.errno, why: event.errmsg });
        return;
      }
      case "session":
        Deno.writeTextFileSync(this.#tokenPath, `${event.session.id} ${event.session.token}`);
        return;
      case "connection":
        this.#note({ k: "state", t: Date.now(), state: event.state, why: event.reason });
        return;
      case "bye":
        this.#note({ k: "state", t: Date.now(), state: "bye", why: event.errmsg });
        return;
      case "error":
        this.#note({ k: "state", t: Date.now(), state: "error", why: event.errmsg });
    }
  }

  #number(cid: string, msg: string): number {
    const n = this.#open.get(cid) ?? parseText(msg)?.n ?? 0;
    this.#open.delete(cid);
    return n;
  }

  #see(message: Message): void {
    const { id } = this.person;
    const conv = message.groupid === undefined
      ? pairConv(message.id, id)
      : groupConv(message.groupid);
    const said = parseText(message.msg);
    const from = message.id;
    const n = said?.n ?? 0;
    this.seenAt = Date.now();
    const t = this.seenAt;
    const { mid } = message;
    const name = `${from}.${n}`;
    if (this.#before.has(name)) {
      this.#note({ k: "again", t, from, n, mid });
      return;
    }
    const intact = said?.intact === true && said.from === from;
    this.#note({
      k: "seen",
      t,
      conv,
      from,
      n: n || 1,
      mid,
      ...said?.re !== undefined && { re: said.re },
      ...!intact && { intact: false as const },
    });
    this.seen++;
    this.#now.add(name);
    const answers = said !== undefined && this.#mode === "run" && !this.#away &&
      this.#rng.chance(said.re === undefined ? REPLY_SHARE : REPLY_SHARE / 4);
    if (answers && this.unsent < 2 * WINDOW) {
      const target: Target = message.groupid === undefined
        ? { kind: "user", id: from }
        : { kind: "group", id: message.groupid };
      this.#send(target, { from, n });
    }
  }

  // ── sending ────────────────────────────────────────────────────────────────────────────────

  /** Sends at its rate since the run began; what an outage kept back follows. */
  async #talk(): Promise<void> {
    while (this.#mode === "run") {
      const due = this.#plan.rate * (Date.now() - this.#since) / 1_000 - this.sent;
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
    const { id } = this.person;
    const n = this.#next++;
    const conv = target.kind === "user" ? pairConv(id, target.id) : groupConv(target.id);
    this.#note({ k: "send", t: Date.now(), conv, n, ...re !== undefined && { re } });
    this.sent++;
    this.#queueing++;
    client.send(target, textOf(id, n, re)).then(({ cid }) => {
      this.#queueing--;
      // The acknowledgement may have come before: its event names the cid, and the text the number.
      this.#open.set(cid, n);
      this.#note({ k: "queued", t: Date.now(), n, cid });
    }, (error) => {
      this.#queueing--;
      this.sent--;
      const expected = error instanceof OutboxFull || error instanceof RequestError ||
        error instanceof ConnectionLost;
      if (!expected) throw error;
      this.#note({ k: "untaken", t: Date.now(), n, why: error.message });
    });
  }

  // ── history ────────────────────────────────────────────────────────────────────────────────

  async #readHistory(conv: string, target: Target): Promise<void> {
    const parts: [number, number, string][][] = [];
    let before: string | undefined;
    for (;;) {
      const page = await this.#page(target, before);
      const part = page.messages.map((m): [number, number, string] => [
        m.id,
        parseText(m.msg)?.n ?? 1,
        m.mid,
      ]);
      parts.push(part);
      before = page.messages[0]?.mid;
      if (!page.more || before === undefined) break;
    }
    parts.reverse();
    const t = Date.now();
    this.#recorder.addAll(
      parts.map((part, i) => ({ k: "history", t, conv, part, last: i === parts.length - 1 })),
    );
  }

  async #page(target: Target, before: string | undefined) {
    for (let attempt = 1;; attempt++) {
      const client = this.#client;
      if (client === undefined) throw new Error(`user ${this.person.id} has left`);
      try {
        return await client.history(target, { before, limit: PAGE });
      } catch (error) {
        const passing = error instanceof ConnectionLost || error instanceof RequestError;
        if (!passing || attempt >= 10) throw error;
        await delay(RETRY_MS);
      }
    }
  }
}

/**
 * Runs attacks one after the other against a node of its own, or a cluster, each with the innocent
 * beside it, on loopback. Everything is bounded in time and ends by itself.
 */

import { argon2 } from "../../actors/adapters/argon2.ts";
import { openMysql } from "../../actors/adapters/mysql/store.ts";
import { openSqlite } from "../../actors/adapters/sqlite/store.ts";
import type { StorePort } from "../../actors/ports.ts";
import { residentKib } from "../../bench/load/processes.ts";
import { MSGID } from "@chat/wire/messages.ts";
import { TestCluster } from "../support/cluster_harness.ts";
import { BALANCED, TestServer } from "../support/server_harness.ts";
import { PASSWORD, TestPeer } from "../support/test_peer.ts";
import type { Order, Over } from "./attack_worker.ts";
import { ATTACKS, type Target } from "./attacks.ts";
import { innocent, type Report } from "./innocent.ts";

/** Members of the attacker's large group, and his other groups. */
const CROWD = 2_000;
const GROUPS = 100;
/** How long an attack may go on beyond its time before it is ended, ms. */
const OVERTIME_MS = 30_000;
/** Between two attacks, for what is on its way, ms. */
const PAUSE_MS = 1_000;

/** Users and groups that are there. */
type Seeded = Pick<Target, "users" | "crowd" | "groups" | "victims"> & {
  readonly alice: number;
  readonly bob: number;
  readonly carol: number;
  readonly dave: number;
  readonly erin: number;
};

/** One attack's result. */
export interface Verdict extends Report {
  readonly name: string;
}

/** What is attacked. */
interface Place {
  readonly port: number;
  readonly httpPort: number;
  memoryBytes(): number;
  [Symbol.asyncDispose](): Promise<void>;
}

async function seed(store: StorePort): Promise<Seeded> {
  const hash = await argon2({ memoryKib: 64, passes: 1 }).hash(PASSWORD);
  const make = async (name: string) => {
    const id = await store.register(name, hash);
    if (id === undefined) throw new Error(`${name} is there already`);
    return id;
  };
  const group = async (creator: number, name: string) => {
    const id = await store.createGroup(creator, name, "");
    if (typeof id !== "number") throw new Error(`${name} is there already`);
    return id;
  };
  const [alice, bob, carol] = [await make("alice"), await make("bob"), await make("carol")];
  const [dave, erin] = [await make("dave"), await make("erin")];
  await store.addFriend(dave, erin);
  const users: number[] = [];
  for (let n = 0; n < CROWD; n++) users.push(await make(`evil ${n}`));
  const [first = 0] = users;
  const crowd = await group(first, "crowd");
  for (const user of users.slice(1)) await store.joinGroup(user, crowd);
  const groups: number[] = [];
  for (let n = 0; n < GROUPS; n++) {
    const id = await group(first, `group ${n}`);
    for (const user of users.slice(1, 40)) await store.joinGroup(user, id);
    groups.push(id);
  }
  const victims = { loggingIn: carol, offline: dave, online: bob };
  return { alice, bob, carol, dave, erin, users, crowd, groups, victims };
}

async function single(): Promise<{ place: Place; seeded: Seeded }> {
  const data = await Deno.makeTempDir({ prefix: "chat-attack-" });
  const store = await openSqlite(`${data}/chat.db`);
  const seeded = await seed(store);
  await store.close();
  const server = await TestServer.start({ data, flags: [...BALANCED] });
  const place: Place = {
    port: server.port,
    httpPort: server.httpPort,
    memoryBytes: () => server.memoryBytes(),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await Deno.remove(data, { recursive: true });
    },
  };
  return { place, seeded };
}

/** Two nodes; the attacker and the innocent are on the first. */
async function clustered(): Promise<{ place: Place; seeded: Seeded }> {
  const cluster = await TestCluster.start(2, ["--unlimited", "none"]);
  const store = await openMysql(cluster.mariadb.url);
  const seeded = await seed(store);
  await store.close();
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error("no node");
  const place: Place = {
    port: node.port,
    httpPort: node.httpPort,
    memoryBytes: () => residentKib([node.pid]) * 1_024,
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  };
  return { place, seeded };
}

/** How the attacks are run. */
export interface RunOptions {
  readonly names: readonly string[];
  readonly secs: number;
  readonly cluster: boolean;
  readonly seed: string;
  /** Told of each attack, before it and after it. */
  readonly onBegin?: (name: string) => void;
  readonly onEnd?: (verdict: Verdict) => void;
}

/** Runs them. @returns What the innocent met, by attack. */
export async function runAttacks(options: RunOptions): Promise<Verdict[]> {
  const { place, seeded } = options.cluster ? await clustered() : await single();
  await using _place = place;
  const verdicts: Verdict[] = [];
  for (const name of options.names) {
    options.onBegin?.(name);
    const verdict = await runOne(name, place, seeded, options);
    verdicts.push(verdict);
    options.onEnd?.(verdict);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  return verdicts;
}

async function runOne(
  name: string,
  place: Place,
  seeded: Seeded,
  { secs, seed }: RunOptions,
): Promise<Verdict> {
  const connect = async (from: string): Promise<TestPeer> => {
    const peer = await TestPeer.connect(place.port);
    await peer.sendText(`PROXY TCP4 ${from} ${from} 50000 6000\r\n`);
    return peer;
  };
  const until = Date.now() + secs * 1_000;
  const { users, crowd, groups, victims } = seeded;
  const target = {
    ...{ port: place.port, httpPort: place.httpPort, until, password: PASSWORD },
    ...{ users, crowd, groups, victims },
  };
  const attack = inWorker({ name, seed: `${seed} ${name}`, target });
  const report = await innocent({
    connect,
    readyz: async () => {
      const response = await fetch(`http://127.0.0.1:${place.httpPort}/readyz`);
      await response.body?.cancel();
      return response.status;
    },
    memoryBytes: place.memoryBytes,
    ...seeded,
  }, until);
  const wrong = [...report.wrong];
  const error = await attack;
  if (error !== undefined) wrong.push(`the attack itself failed: ${error}`);
  if (name === "mailbox") wrong.push(...await friendIsRefused(connect, seeded));
  return { ...report, wrong, name };
}

/** The friend of somebody whose mailbox a stranger has filled. */
async function friendIsRefused(
  connect: (from: string) => Promise<TestPeer>,
  { dave, erin }: Seeded,
): Promise<string[]> {
  await using peer = await connect("192.0.2.9");
  await peer.login(erin);
  const cid = crypto.randomUUID();
  const answer = await peer.ask({ msgid: MSGID.ONE_CHAT, toid: dave, cid, msg: "are you there?" });
  return answer.msgid === MSGID.CHAT_ACK ? [] : [`a friend was refused: errno ${answer.errno}`];
}

/** Runs an attack in a worker. @returns What went wrong with it. */
async function inWorker(order: Order): Promise<string | undefined> {
  const url = new URL("./attack_worker.ts", import.meta.url);
  const worker = new Worker(url, { type: "module" });
  const over = Promise.withResolvers<string | undefined>();
  worker.onmessage = ({ data }: MessageEvent<Over>) => over.resolve(data.error);
  worker.onerror = (event) => {
    event.preventDefault();
    over.resolve(event.message);
  };
  const left = order.target.until - Date.now() + OVERTIME_MS;
  const timer = setTimeout(() => over.resolve("it did not end"), left);
  worker.postMessage(order);
  const error = await over.promise;
  clearTimeout(timer);
  worker.terminate();
  return error;
}

/** Names of the attacks, all or those of the short form. */
export function attackNames(short: boolean): string[] {
  return Object.entries(ATTACKS).filter(([, { isLong }]) => !short || isLong !== true)
    .map(([name]) => name);
}

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
const CROWD = 5_000;
const SHORT_CROWD = 2_000;
const GROUPS = 100;
/** How long an attack may go on beyond its time before it is ended, ms. */
const OVERTIME_MS = 30_000;
/** Longest wait for /readyz, ms. */
const READY_MS = 5_000;
/** Descriptors that a node has left while its health port is attacked. */
const FEW_FILES = 200;
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
  /** Of the other node, in a cluster. */
  readonly farPort: number;
  readonly httpPort: number;
  readonly pid: number;
  memoryBytes(): number;
  [Symbol.asyncDispose](): Promise<void>;
}

async function seed(store: StorePort, members: number): Promise<Seeded> {
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
  for (let n = 0; n < members; n++) users.push(await make(`evil ${n}`));
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

async function single(members: number): Promise<{ place: Place; seeded: Seeded }> {
  const data = await Deno.makeTempDir({ prefix: "chat-attack-" });
  const store = await openSqlite(`${data}/chat.db`);
  const seeded = await seed(store, members);
  await store.close();
  const server = await TestServer.start({ data, flags: [...BALANCED] });
  const place: Place = {
    ...{ port: server.port, farPort: server.port, httpPort: server.httpPort, pid: server.pid },
    memoryBytes: () => server.memoryBytes(),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await Deno.remove(data, { recursive: true });
    },
  };
  return { place, seeded };
}

/** Two nodes: who attacks and who writes are on the first, those written to on the second. */
async function clustered(members: number): Promise<{ place: Place; seeded: Seeded }> {
  const cluster = await TestCluster.start(2, ["--unlimited", "none"]);
  const store = await openMysql(cluster.mariadb.url);
  const seeded = await seed(store, members);
  await store.close();
  const [node, far] = cluster.nodes;
  if (node === undefined || far === undefined) throw new Error("no node");
  const place: Place = {
    ...{ port: node.port, farPort: far.port, httpPort: node.httpPort, pid: node.pid },
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
  /** A smaller crowd, and bounds so many times as wide: for a machine that does other things too. */
  readonly slack?: number;
  /** Told of each attack, before it and after it. */
  readonly onBegin?: (name: string) => void;
  readonly onEnd?: (verdict: Verdict) => void;
}

/** Runs them. @returns What the innocent met, by attack. */
export async function runAttacks(options: RunOptions): Promise<Verdict[]> {
  const members = options.slack === undefined ? CROWD : SHORT_CROWD;
  const { place, seeded } = options.cluster ? await clustered(members) : await single(members);
  await using _place = place;
  const restBytes = place.memoryBytes();
  const verdicts: Verdict[] = [];
  for (const name of options.names) {
    options.onBegin?.(name);
    const verdict = await runOne(name, place, seeded, restBytes, options);
    verdicts.push(verdict);
    options.onEnd?.(verdict);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  return verdicts;
}

/** What went wrong without anybody to catch it, while an attack ran. Disposing ends the listening. */
function uncaught(): Disposable & { readonly texts: string[] } {
  const texts: string[] = [];
  const note = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    texts.push(shortly(event.reason));
  };
  addEventListener("unhandledrejection", note);
  return { texts, [Symbol.dispose]: () => removeEventListener("unhandledrejection", note) };
}

function shortly(error: unknown): string {
  return String(error).slice(0, 200);
}

/** Nothing that an attack does to the innocent ends the run: it is that attack's result. */
async function runOne(
  name: string,
  place: Place,
  seeded: Seeded,
  restBytes: number,
  options: RunOptions,
): Promise<Verdict> {
  using failures = uncaught();
  try {
    const verdict = await attackAndLook(name, place, seeded, restBytes, options);
    return { ...verdict, wrong: [...verdict.wrong, ...failures.texts] };
  } catch (error) {
    const nothing = { acks: 0, p50: NaN, p99: NaN, loginMs: NaN, memoryBytes: NaN };
    const wrong = [shortly(error), ...failures.texts];
    return { ...nothing, putOff: 0, ownMs: NaN, wrong, name };
  }
}

async function attackAndLook(
  name: string,
  place: Place,
  seeded: Seeded,
  restBytes: number,
  { secs, seed, slack = 1 }: RunOptions,
): Promise<Verdict> {
  const { port, farPort, httpPort } = place;
  const connect = async (from: string, far?: "far"): Promise<TestPeer> => {
    const peer = await TestPeer.connect(far === undefined ? port : farPort);
    await peer.sendText(`PROXY TCP4 ${from} ${from} 50000 6000\r\n`);
    return peer;
  };
  const worker = await startWorker(); // its modules have to be compiled first
  const until = Date.now() + secs * 1_000;
  const { users, crowd, groups, victims } = seeded;
  const target = {
    ...{ port, farPort, httpPort, until, password: PASSWORD },
    ...{ users, crowd, groups, victims },
  };
  using _files = name === "http" ? fewFiles(place.pid) : undefined;
  const attack = inWorker(worker, { name, seed: `${seed} ${name}`, target });
  const report = await innocent({
    connect,
    readyz: async () => {
      const signal = AbortSignal.timeout(READY_MS);
      try {
        const response = await fetch(`http://127.0.0.1:${httpPort}/readyz`, { signal });
        await response.body?.cancel();
        return response.status;
      } catch {
        return 0; // no answer is not 200
      }
    },
    memoryBytes: place.memoryBytes,
    ...{ restBytes, slack },
    ...seeded,
  }, until);
  const wrong = [...report.wrong];
  const { error, work } = await attack;
  if (error !== undefined) wrong.push(`the attack itself failed: ${error}`);
  else if (work.bytes === 0) wrong.push("the attack has sent nothing");
  if (name === "mailbox") wrong.push(...await friendIsRefused(connect, seeded));
  return { ...report, wrong, name };
}

/** Leaves a process few descriptors beside those it has open. Disposing gives them back. */
function fewFiles(pid: number): Disposable {
  const [, soft = ""] =
    /Max open files\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${pid}/limits`)) ??
      [];
  const set = (soft: string | number) => {
    const args = ["--pid", `${pid}`, `--nofile=${soft}:`];
    const { success, stderr } = new Deno.Command("prlimit", { args }).outputSync();
    if (!success) throw new Error(`prlimit: ${new TextDecoder().decode(stderr)}`);
  };
  set([...Deno.readDirSync(`/proc/${pid}/fd`)].length + FEW_FILES);
  return { [Symbol.dispose]: () => set(soft) };
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

/** A worker that waits for its order. */
async function startWorker(): Promise<Worker> {
  const url = new URL("./attack_worker.ts", import.meta.url);
  const worker = new Worker(url, { type: "module" });
  await new Promise<void>((resolve, reject) => {
    worker.onmessage = () => resolve();
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
  });
  return worker;
}

/** Runs an attack in a worker, and ends that. @returns What went wrong with it, and what it did. */
async function inWorker(worker: Worker, order: Order): Promise<Over> {
  const over = Promise.withResolvers<Over>();
  const fail = (error: string) => over.resolve({ error, work: { connections: 0, bytes: 0 } });
  worker.onmessage = ({ data }: MessageEvent<Over>) => over.resolve(data);
  worker.onerror = (event) => {
    event.preventDefault();
    fail(event.message);
  };
  const left = order.target.until - Date.now() + OVERTIME_MS;
  const timer = setTimeout(() => fail("it did not end"), left);
  worker.postMessage(order);
  const result = await over.promise;
  clearTimeout(timer);
  worker.terminate();
  return result;
}

/** Names of the attacks, all or those of the short form. */
export function attackNames(short: boolean): string[] {
  return Object.entries(ATTACKS).filter(([, { isLong }]) => !short || isLong !== true)
    .map(([name]) => name);
}

/**
 * Whether the embedded store stays as fast as it grows: fills one to 5 million messages and measures
 * at 0.1, 1 and 5 million what a message costs and how long a commit, a page of history and a log-in
 * take. Not the server: no sockets, no actors; filing is asked for as the store actor asks for it.
 * `deno run -A bench/growth.ts [--millions 5] [--conversations 100000]`
 *
 * Texts have 100 bytes. Of a hundred messages one waits for its recipient, the others are received at
 * once. A log-in is what the store is asked at one: who it is, contacts, what waits, a token.
 */

import { parseArgs } from "@std/cli/parse-args";
import process from "node:process";
import { openSqlite } from "../actors/adapters/sqlite/store.ts";
import { HybridClock } from "../actors/hlc.ts";
import type { Append, StorePort, UserId } from "../actors/ports.ts";
import { cidUnits, MID_UNITS, packMessages, RecordedMessage, viewOf } from "../actors/record.ts";

const USERS = 20_000;
const MSG = "x".repeat(100);
/** Messages of a commit, and of a slice of filing in ms: about what a busy node has. */
const BATCH = 200;
const SLICE_MS = 8;
const FILE_ABOVE = 4_000;
/** Messages over which costs are measured at a mark; reads of each kind. */
const MEASURED = 100_000;
const READS = 1_000;
const PAGE = 50;
const MARKS = [0.1, 1, 5];

type Pair = readonly [from: UserId, to: UserId];

let seed = 1;
/** Uniform in [0, n), the same at every run. */
function random(n: number): number {
  seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
  return seed % n;
}

const clock = new HybridClock(Date.now);
let sent = 0;

/** A batch as the store's thread has it: messages of one block of bytes. */
function batch(pairs: readonly Pair[]): Append[] {
  const messages = Array.from({ length: BATCH }, () => {
    const [from, toid] = pairs[random(pairs.length)] ?? [0, 0];
    const cid = `${Math.floor(sent / 5_000)}-${sent++}`;
    const ts = Date.now();
    return {
      mid: clock.next(),
      cid,
      from,
      name: "",
      ts,
      toid,
      groupid: 0,
      msg: MSG,
      extra: "",
      prev: "",
    };
  });
  const { records, keys } = packMessages(messages);
  const view = viewOf(records);
  let [at, key] = [0, 0];
  return messages.map(({ toid }, i) => {
    const cidAt = key + MID_UNITS;
    const end = cidAt + cidUnits(view, at);
    const message = new RecordedMessage(
      records,
      view,
      at,
      keys.slice(key, cidAt),
      keys.slice(cidAt, end),
    );
    at = message.end;
    key = end;
    return { message, confirmed: i % 100 === 0 ? [] : [toid] };
  });
}

/** Commits `count` messages; the times of the commits, ms. */
async function fill(store: StorePort, pairs: readonly Pair[], count: number): Promise<number[]> {
  const times: number[] = [];
  for (let done = 0; done < count; done += BATCH) {
    const appends = batch(pairs);
    const start = performance.now();
    const outcomes = await store.commit(appends, []);
    times.push(performance.now() - start);
    const refused = outcomes.find(({ status }) => status !== "stored");
    if (refused !== undefined) throw new Error(`not stored: ${refused.status}`);
    if ((store.backlog?.().messages ?? 0) < FILE_ABOVE) continue;
    while ((store.backlog?.().messages ?? 0) > 0) await store.file?.(SLICE_MS);
  }
  return times;
}

async function timed(count: number, work: (i: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await work(i);
    times.push(performance.now() - start);
  }
  return times;
}

function p99(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? 0;
}

const flags = parseArgs(Deno.args, { default: { millions: 5, conversations: 100_000 } });
const dir = await Deno.makeTempDir({ prefix: "chat-growth-", dir: "." });
try {
  const file = `${dir}/chat.db`;
  const store = await openSqlite(file, { maxPending: 10_000 });
  const users: UserId[] = [];
  for (let i = 0; i < USERS; i++) users.push(await store.register(`user${i}`, "hash") ?? 0);
  const pairs = Array.from({ length: Number(flags.conversations) }, (): Pair => {
    const [a = 0, b = 0] = [users[random(USERS)], users[random(USERS)]];
    return [a, b];
  });
  console.log("messages   CPU µs  bytes   commit p99   history p99   log-in p99   (ms; a message)");
  let first: readonly number[] | undefined;
  for (const mark of MARKS.filter((millions) => millions <= Number(flags.millions))) {
    await fill(store, pairs, mark * 1e6 - sent - MEASURED);
    const cpu = process.cpuUsage();
    const commits = await fill(store, pairs, MEASURED);
    const { user, system } = process.cpuUsage(cpu);
    const history = await timed(READS, async () => {
      const [a, b] = pairs[random(pairs.length)] ?? [0, 0];
      await store.historyWith(a, b, "", PAGE);
    });
    const logins = await timed(READS, async (i) => {
      const name = `user${random(USERS)}`;
      const id = (await store.userByName(name))?.id ?? 0;
      await store.contacts(id);
      await store.pending(id, "", PAGE);
      await store.saveToken(`${mark}-${i}`, id, Date.now() + 1e9);
    });
    const bytes = (await Deno.stat(file)).size / sent;
    const row = [(user + system) / MEASURED, bytes, p99(commits), p99(history), p99(logins)];
    const [cpuUs = 0, size = 0, ...times] = row;
    console.log(
      `${`${mark} M`.padEnd(10)}${cpuUs.toFixed(1).padStart(7)}${size.toFixed(0).padStart(7)}` +
        times.map((ms) => ms.toFixed(2).padStart(13)).join(""),
    );
    first ??= row;
    const before = first;
    const ratios = row.map((value, i) => (value / (before[i] ?? 1)).toFixed(2));
    if (before !== row) console.log(`  times what it was at ${MARKS[0]} M: ${ratios.join("  ")}`);
  }
  await store.close();
} finally {
  await Deno.remove(dir, { recursive: true });
}

/**
 * What a commit costs a message, for each database: µs of wall time and of this process's CPU.
 * Not the server: no sockets, no actors. `deno run -A bench/store_commit.ts [--rounds N]`
 *
 * Every batch comes from 100 pairs of users. "receipt first" is the usual case, no pending row is
 * written; "pending" writes one per message and deletes it by a receipt in the next batch.
 */

import { parseArgs } from "@std/cli/parse-args";
import process from "node:process";
import { openMysql } from "../actors/adapters/mysql/store.ts";
import { openSqlite } from "../actors/adapters/sqlite/store.ts";
import type { Append, Receipt, StorePort } from "../actors/ports.ts";
import { ensureServices, startMariaDb } from "../server/cluster/services.ts";

const PAIRS = 100;
const MSG = "x".repeat(100);
const BATCHES = [1, 50, 500];
/** Messages per measurement for a batch of 1; larger batches take ten times as many. */
const FEW = 1_000;

/** Where commits leave messages to be filed, that is a part of what they cost: so many at a time. */
const FILE_ABOVE = 4_000;

async function fileAll(store: StorePort): Promise<void> {
  while ((store.backlog?.().messages ?? 0) > 0) await store.file?.(8);
}

let count = 0;

function append(users: readonly number[], confirm: boolean): Append {
  const pair = count % PAIRS;
  const mid = `01J${String(count).padStart(23, "0")}`;
  const [from = 0, toid = 0] = [users[2 * pair], users[2 * pair + 1]];
  return {
    confirmed: confirm ? [toid] : [],
    message: {
      mid,
      cid: `${Math.floor(count++ / PAIRS)}`,
      from,
      name: "",
      ts: 1_700_000_000_000 + count,
      toid,
      groupid: 0,
      msg: MSG,
      extra: "",
      prev: "",
    },
  };
}

async function measure(store: StorePort, users: readonly number[], size: number, confirm: boolean) {
  let receipts: Receipt[] = [];
  const total = size === 1 ? FEW : 10 * FEW;
  const [start, cpuStart] = [performance.now(), process.cpuUsage()];
  for (let done = 0; done < total; done += size) {
    const batch = Array.from({ length: size }, () => append(users, confirm));
    const outcomes = await store.commit(batch, receipts);
    const refused = outcomes.find(({ status }) => status !== "stored");
    if (refused !== undefined) throw new Error(`not stored: ${refused.status}`);
    if ((store.backlog?.().messages ?? 0) >= FILE_ABOVE) await fileAll(store);
    receipts = confirm
      ? []
      : batch.map(({ message }) => ({ user: message.toid, mid: message.mid }));
  }
  await fileAll(store);
  const cpu = process.cpuUsage(cpuStart);
  return {
    wallUs: (performance.now() - start) * 1_000 / total,
    cpuUs: (cpu.user + cpu.system) / total,
  };
}

async function run(name: string, store: StorePort, rounds: number): Promise<void> {
  const users: number[] = [];
  for (let i = 0; i < 2 * PAIRS; i++) users.push(await store.register(`user${i}`, "hash") ?? 0);
  for (const confirm of [true, false]) {
    for (const size of BATCHES) {
      const results = [];
      for (let i = 0; i < rounds; i++) results.push(await measure(store, users, size, confirm));
      results.sort((a, b) => a.wallUs - b.wallUs);
      const { wallUs = 0, cpuUs = 0 } = results[Math.floor(rounds / 2)] ?? {};
      console.log(
        `${name.padEnd(8)} ${confirm ? "receipt first" : "pending      "} ` +
          `${String(size).padStart(4)} a commit: ${wallUs.toFixed(1).padStart(7)} µs wall, ` +
          `${cpuUs.toFixed(1).padStart(6)} µs CPU a message`,
      );
    }
  }
  await store.close();
}

const rounds = Number(parseArgs(Deno.args, { default: { rounds: 3 } }).rounds);
const dir = await Deno.makeTempDir({ prefix: "chat-bench-" });
await run("SQLite", await openSqlite(`${dir}/chat.db`), rounds);
await ensureServices({ install: true });
const server = await startMariaDb({ dir });
await run("MariaDB", await openMysql(server.url), rounds);
await server.stop();
await Deno.remove(dir, { recursive: true });

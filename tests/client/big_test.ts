import { assert } from "@std/assert";
import { type Client, connect } from "../../client/mod.ts";
import { ClientTerminal } from "../support/client_terminal.ts";
import { TestServer } from "../support/server_harness.ts";

const PASSWORD = "correct-horse-battery";
const PEOPLE = 100;
const GROUPS = 30;
const MESSAGES = 10_000;

/** Starts of which the quickest counts: other tests run on the same cores. */
const STARTS = 5;
const START_MS = 1_000;
/** What 10,000 messages that pass through may add to the memory, in bytes. */
const GROWTH_BYTES = 40 * 1024 * 1024;

/** Alice with a hundred friends and thirty groups; everybody is in every third group. */
async function populate(port: number): Promise<{ bob: Client; aliceId: number }> {
  const alice = await connect({ port });
  const aliceId = await alice.register("alice", PASSWORD);
  await alice.login({ name: "alice", password: PASSWORD });
  const groups = await inOrder(GROUPS, (n) => alice.createGroup(`group${n}`));
  await Promise.all(Array.from({ length: PEOPLE }, async (_, n) => {
    const one = await connect({ port });
    const id = await one.register(`person${n}`, PASSWORD);
    await one.login({ name: `person${n}`, password: PASSWORD });
    for (let g = n % 3; g < GROUPS; g += 3) await one.joinGroup(groups[g]?.id ?? 0);
    await alice.addFriend(id);
    await one.close();
  }));
  await alice.logout();
  await alice.close();
  const bob = await connect({ port });
  await bob.login({ name: "person0", password: PASSWORD });
  return { bob, aliceId };
}

async function inOrder<T>(count: number, make: (n: number) => Promise<T>): Promise<T[]> {
  const all: T[] = [];
  for (let n = 0; n < count; n++) all.push(await make(n));
  return all;
}

async function residentBytes(pid: number): Promise<number> {
  const [, pages = 0] = (await Deno.readTextFile(`/proc/${pid}/statm`)).split(" ").map(Number);
  return pages * 4096;
}

Deno.test("with 100 people, 30 groups and 10,000 messages it starts in a second and stays small", async () => {
  await using server = await TestServer.start();
  const { bob, aliceId } = await populate(server.port);
  const args = ["--port", String(server.port), "--name", "alice"];
  const env = { CHAT_PASSWORD: PASSWORD };
  await using first = await ClientTerminal.start({ args, env });
  await first.sees(/^Friends, 1 of 100 online/);
  await first.enter("/open person0");
  await first.sees(/^ person0 · online/);

  const pid = await first.pid();
  const send = async (from: number, to: number) => {
    for (let n = from; n < to; n++) await bob.sendTo(aliceId, `message ${n}.`);
    assert(await bob.drained(30_000));
    await first.sees(new RegExp(`message ${to - 1}\\.`));
  };
  await send(0, 1_000);
  const before = await residentBytes(pid);
  await send(1_000, MESSAGES);
  const after = await residentBytes(pid);
  await first.press("C-d");
  await first.sees(/^STATUS 0$/);

  const startsMs: number[] = [];
  for (let start = 0; start < STARTS && Math.min(...startsMs, Infinity) > START_MS; start++) {
    await using again = await ClientTerminal.start({ args, env, config: first.config });
    await again.output(" online");
    startsMs.push(performance.now() - again.startedMs);
    await again.press("C-d");
    await again.sees(/^STATUS 0$/);
  }
  await bob.close();

  const shown = startsMs.map(Math.round).join(", ");
  console.log(`starts ${shown} ms; ${Math.round((after - before) / 2 ** 20)} MiB more`);
  assert(Math.min(...startsMs) < START_MS, `starts: ${shown} ms`);
  assert(after - before < GROWTH_BYTES, `${(after - before) / 2 ** 20} MiB more`);
});

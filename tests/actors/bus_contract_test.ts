/** Both buses between nodes keep one contract: the hub of the simulation, and a real Redis. */

import { assertEquals } from "@std/assert";
import { createLocalBus } from "../../actors/adapters/local_bus.ts";
import { openRedisBus } from "../../actors/adapters/redis/bus.ts";
import type { Clock } from "../../actors/ports.ts";
import { ensureServices, startRedis } from "../../server/cluster/services.ts";
import { CASES, type Cluster } from "../support/bus_contract.ts";
import { BusProcess, locationText, type Member, Seen } from "../support/bus_process.ts";
import { createHub } from "../support/hub_bus.ts";
import { RedisView } from "../support/redis_view.ts";

const LEASE_MS = 1_500;

/** Real time; its timers keep a test alive that waits for nothing else. */
const clock: Clock = {
  now: () => Date.now(),
  after(ms, fn) {
    const id = setTimeout(fn, ms);
    return () => clearTimeout(id);
  },
};

let nodes = 0;
const nextNode = () => `node-${++nodes}`;

Deno.test("the hub keeps the bus contract", async (t) => {
  for (const [name, run] of Object.entries(CASES)) {
    await t.step(name, async () => {
      const hub = createHub({ clock, leaseMs: LEASE_MS, seed: 7 });
      hub.faults.delayMs = [0, 3];
      const join = async (): Promise<Member> => {
        const seen = new Seen();
        const bus = hub.bus(nextNode());
        await bus.start(seen);
        return { bus, seen };
      };
      const cluster: Cluster = {
        leaseMs: LEASE_MS + 100,
        join,
        joinMortal: join,
        kill: (member) => Promise.resolve(hub.kill(member.bus.node)),
        entries: () =>
          Promise.resolve(new Map([...hub.online].map(([user, at]) => [user, locationText(at)]))),
      };
      await run(cluster);
      hub.close();
    });
  }
});

Deno.test("the Redis bus keeps the bus contract", async (t) => {
  const dir = await Deno.makeTempDir({ prefix: "chat-bus-" });
  const redis = await startRedis({ dir, binaries: await ensureServices({ install: true }) });
  const view = await RedisView.open(redis.url);
  for (const [i, [name, run]] of Object.entries(CASES).entries()) {
    await t.step(name, async () => {
      const options = { url: redis.url, leaseMs: LEASE_MS, prefix: `case${i}:` };
      const members: Member[] = [];
      const killed = new Set<Member>();
      const cluster: Cluster = {
        leaseMs: LEASE_MS,
        join: async () => {
          const seen = new Seen();
          const bus = openRedisBus({ ...options, node: nextNode() });
          members.push({ bus, seen });
          await bus.start(seen);
          return { bus, seen };
        },
        joinMortal: async () => {
          const process = await BusProcess.start({ ...options, node: nextNode() });
          members.push(process);
          return process;
        },
        kill: async (member) => {
          killed.add(member);
          if (member instanceof BusProcess) await member.kill();
        },
        entries: () => view.entries(options.prefix),
      };
      try {
        await run(cluster);
      } finally {
        for (const member of members) if (!killed.has(member)) await member.bus.close();
      }
    });
  }
  await view.close();
  await redis.stop();
  await Deno.remove(dir, { recursive: true });
});

Deno.test("the local bus grants every claim and is never away", async () => {
  const bus = createLocalBus("alone");
  const seen = new Seen();
  await bus.start(seen);

  assertEquals(await bus.claim(1, 1, false), { granted: true, previous: undefined });
  bus.broadcast("nobody hears");
  bus.send("nobody", "hears");
  void bus.release(1, 1);
  await bus.announce([{ user: 1, conn: 2 }]);

  assertEquals(bus.problem(), undefined);
  assertEquals(seen.envelopes, []);
  await bus.close();
});

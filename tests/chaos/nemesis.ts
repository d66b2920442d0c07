/**
 * The seeded sequence of faults. Every kind comes up equally often: kinds are dealt like cards, and
 * the deck is shuffled anew when it is used up. It touches what it is given and nothing else.
 */

import { delay } from "@std/async/delay";
import type { Service } from "../../server/cluster/services.ts";
import type { ClientProcesses } from "./client_processes.ts";
import type { System } from "./system.ts";
import type { Rng } from "./rng.ts";

/** How long something that ends at start is started again, and the pause between, ms. */
const START_AGAIN_MS = 30_000;
const START_PAUSE_MS = 500;

/** A fault that can be ordered. */
export interface Fault {
  readonly name: string;
  /** Does it, heals it, and says in words what was done. */
  run(): Promise<string>;
}

/** A fault that was injected, epoch ms. */
export interface Injected {
  readonly name: string;
  readonly what: string;
  readonly t: number;
  readonly until: number;
}

/** Sends faults until told to stop; a fault that is under way is healed first. */
export async function torment(
  deck: readonly Fault[],
  rng: Rng,
  /** Time between two faults, ms. */
  gapMs: readonly [number, number],
  until: number,
  signal: AbortSignal,
  onFault: (fault: Injected) => void,
): Promise<void> {
  let cards: Fault[] = [];
  const inflict = async (fault: Fault) => {
    const t = Date.now();
    const what = await fault.run();
    onFault({ name: fault.name, what, t, until: Date.now() });
  };
  while (Date.now() < until && !signal.aborted) {
    if (cards.length === 0) cards = rng.shuffled(deck);
    const first = cards.pop();
    if (first === undefined) return;
    // Now and then two at once; never two that order the same process about.
    const second = rng.chance(0.2) ? cards.findIndex((c) => target(c) !== target(first)) : -1;
    const both = second < 0 ? [first] : [first, ...cards.splice(second, 1)];
    await Promise.all(both.map(inflict));
    await delay(rng.int(...gapMs));
  }
}

/** What a fault is ordered on: the word before the first blank. */
function target({ name }: Fault): string {
  return name.split(" ")[0] ?? "";
}

/** Every fault that `system` and its clients can suffer. */
export function faultsOf(system: System, clients: ClientProcesses, rng: Rng): Fault[] {
  const faults = [
    ...clientFaults(clients, rng),
    ...connectionFaults(system, rng),
    ...nodeFaults(system, rng),
  ];
  const { mariadb, redis, nginx } = system;
  if (mariadb !== undefined) {
    faults.push(killed("mariadb", () => mariadb, rng, 2_000));
    faults.push(paused("mariadb", () => mariadb, rng, 3_000));
  }
  if (redis !== undefined) {
    faults.push(killed("redis", () => redis, rng, 3_000));
    faults.push(paused("redis", () => redis, rng, 4_000));
    faults.push({
      name: "redis FLUSHALL",
      async run() {
        await redisCommand(redis.port, "FLUSHALL");
        return "";
      },
    });
  }
  if (nginx !== undefined) {
    faults.push({
      name: "nginx reload",
      async run() {
        await nginx.reload();
        return "";
      },
    });
  }
  return faults;
}

function clientFaults(clients: ClientProcesses, rng: Rng): Fault[] {
  const any = () => rng.pick(clients.all);
  return [killed("client", any, rng, 1_000), paused("client", any, rng, 4_000)];
}

function connectionFaults({ proxy }: System, rng: Rng): Fault[] {
  const cutInside = (way: "toServer" | "toClient"): Fault => ({
    name: `connections cut inside frames ${way}`,
    async run() {
      const bytes = rng.int(1, 3_000);
      const ms = rng.int(100, 600);
      proxy.cutAfter(bytes, way);
      await delay(ms);
      proxy.heal();
      return `each after ${bytes} bytes`;
    },
  });
  return [
    cutInside("toServer"),
    cutInside("toClient"),
    {
      name: "connections cut",
      run() {
        const count = proxy.connections;
        proxy.cut();
        return Promise.resolve(`${count} of them`);
      },
    },
    {
      name: "connections stalled",
      async run() {
        const way = rng.pick(["toServer", "toClient", "both"] as const);
        proxy.stall(way);
        await delay(rng.int(500, 3_000));
        proxy.heal();
        return way;
      },
    },
  ];
}

function nodeFaults({ nodes, redis }: System, rng: Rng): Fault[] {
  const any = () => rng.pick(nodes);
  const worker: Fault = {
    name: "node session worker killed",
    run() {
      const node = any();
      node.signal("SIGUSR2");
      return Promise.resolve(`of ${node.name}`);
    },
  };
  const faults = [
    killed("node", any, rng, 500),
    killed("node", any, rng, 500),
    paused("node", any, rng, 3_000),
    worker,
    worker,
    {
      name: "node restarted",
      async run() {
        const node = any();
        await startAgain(node);
        return node.name;
      },
    },
  ];
  // Longer than a lease: the others take it for dead, and then it is back.
  if (redis !== undefined) faults.push(paused("node for long", any, rng, 13_000, 10_500));
  return faults;
}

/** As a supervisor does: a node that ends at start, as its database is away, is started again. */
async function startAgain(service: Service): Promise<void> {
  const end = Date.now() + START_AGAIN_MS;
  for (;;) {
    try {
      return await service.restart();
    } catch (error) {
      const away = error instanceof Error && error.message.includes("ended at start");
      if (!away || Date.now() > end) throw error;
    }
    await delay(START_PAUSE_MS);
  }
}

function killed(what: string, pick: () => Service, rng: Rng, mostDownMs: number): Fault {
  return {
    name: `${what} killed`,
    async run() {
      const service = pick();
      const { pid } = service;
      await service.kill9();
      const downMs = rng.int(0, mostDownMs);
      await delay(downMs);
      await startAgain(service);
      return `${service.name} (pid ${pid}), down for ${downMs} ms`;
    },
  };
}

function paused(
  what: string,
  pick: () => Service,
  rng: Rng,
  mostMs: number,
  leastMs = 300,
): Fault {
  return {
    name: `${what} paused`,
    async run() {
      const service = pick();
      const ms = rng.int(leastMs, mostMs);
      service.pause();
      try {
        await delay(ms);
      } finally {
        service.resume();
      }
      return `${service.name} for ${ms} ms`;
    },
  };
}

/** One command without arguments; resolves once it is answered. */
async function redisCommand(port: number, command: string): Promise<void> {
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await conn.write(new TextEncoder().encode(`${command}\r\n`));
  await conn.read(new Uint8Array(64));
}

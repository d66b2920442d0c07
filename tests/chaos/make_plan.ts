/**
 * Sets the scene of a chaos run: makes users and groups on a running server, and writes down who talks
 * to whom. The same seed gives the same plan, but for the ids, which are the server's.
 */

import { type Client, connect } from "../../client/mod.ts";
import type { Circle, Habit, Person, Plan } from "./plan.ts";
import { Rng } from "./rng.ts";

const PASSWORD = "chaos password";
/** Client processes: few, as each takes its share of two cores. */
const PROCESSES = 4;
/** Who asks for everybody's presence, and takes no part. */
export const OBSERVER = "observer";

/** What the plan is made of. */
export interface PlanOptions {
  readonly seed: string;
  readonly users: number;
  /** All users together. */
  readonly messagesPerMinute: number;
  /** Where records, outboxes and tokens are. */
  readonly dir: string;
  /** Where the servers are reached, and where the harness is. */
  readonly port: number;
  readonly controlPort: number;
}

/** Registers users, makes groups, and has an observer befriend everybody. */
export async function makePlan(options: PlanOptions): Promise<Plan> {
  const { users, seed, dir, messagesPerMinute, port, controlPort } = options;
  const rng = new Rng(seed);
  const habits = (i: number): Habit => i % 8 === 3 ? "slow" : i % 4 === 1 ? "commuter" : "steady";
  const names = Array.from({ length: users }, (_, i) => `user${i}`);
  const ids: number[] = [];
  for (const name of names) ids.push(await register(port, name));
  const observer = await register(port, OBSERVER);
  const people = names.map((name, i): Person => ({
    id: ids[i] ?? 0,
    name,
    habit: habits(i),
    peers: rng.shuffled(ids.filter((id) => id !== ids[i])).slice(0, 4),
  }));
  const sizes = [4, 5, 6, Math.min(12, users)];
  const circles: Circle[] = [];
  for (const [i, size] of sizes.entries()) {
    const members = rng.shuffled(ids).slice(0, size);
    circles.push({ id: await makeGroup(port, `group${i}`, members), members });
  }
  await as(port, observer, async (client) => {
    for (const id of ids) await client.addFriend(id);
  });
  return {
    seed,
    dir,
    port,
    controlPort,
    password: PASSWORD,
    rate: messagesPerMinute / 60 / users,
    people,
    circles,
    processes: Array.from(
      { length: PROCESSES },
      (_, p) => ids.filter((_, i) => i % PROCESSES === p),
    ),
  };
}

async function register(port: number, name: string): Promise<number> {
  const client = await connect({ port });
  try {
    return await client.register(name, PASSWORD);
  } finally {
    await client.close();
  }
}

/** Does something as a user, logged in for so long. */
async function as<T>(
  port: number,
  who: number | string,
  act: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await connect({ port, want: [] });
  try {
    const whom = typeof who === "number" ? { id: who } : { name: who };
    await client.login({ ...whom, password: PASSWORD });
    const result = await act(client);
    await client.logout();
    return result;
  } finally {
    await client.close();
  }
}

async function makeGroup(port: number, name: string, members: number[]): Promise<number> {
  const [creator = 0, ...others] = members;
  const group = await as(port, creator, (client) => client.createGroup(name));
  for (const member of others) await as(port, member, (client) => client.joinGroup(group.id));
  return group.id;
}

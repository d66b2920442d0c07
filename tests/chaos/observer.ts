/**
 * Asks every node of a chaos run who is online, as a friend of everybody. What should be so is for the
 * checker to say.
 */

import { connect } from "../../client/mod.ts";
import { OBSERVER } from "./make_plan.ts";
import type { Plan } from "./plan.ts";
import type { LineOf } from "./record.ts";

/** Logins until each node has served one. */
const ATTEMPTS = 40;

/**
 * See the module's header.
 *
 * @param nodes How many there are.
 * @param record Told what each of them says.
 * @returns How many were asked: fewer when the balancer did not lead to all in so many logins.
 */
export async function askPresence(
  { port, password }: Plan,
  nodes: number,
  record: (line: LineOf<"presence">) => void,
): Promise<number> {
  const asked = new Set<string>();
  // The node with the fewest connections gets the next one: those of earlier attempts stay.
  await using clients = new AsyncDisposableStack();
  for (let i = 0; i < ATTEMPTS && asked.size < nodes; i++) {
    const client = clients.adopt(await connect({ port, want: [] }), (client) => client.close());
    const { node, friends } = await client.login({ name: OBSERVER, password });
    if (!asked.has(node)) {
      asked.add(node);
      const of = (state: string) => friends.filter((f) => f.state === state).map((f) => f.id);
      const t = Date.now();
      record({ k: "presence", t, node, online: of("online"), offline: of("offline") });
    }
    await client.logout();
  }
  return asked.size;
}

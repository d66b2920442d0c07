/** A rolling restart of a cluster under load: everybody is told, and nothing is lost. */

import { assert, assertEquals } from "@std/assert";
import { type Client, type ClientEvent, connect } from "../../client/mod.ts";
import { TestCluster } from "../support/cluster_harness.ts";
import { until } from "../support/until.ts";

const NODES = 3;
const PAIRS = 24;
/** Time between two messages of one client, ms. */
const SEND_EVERY_MS = 40;
/** As docs/deploy.md says: nginx sends nobody to a node that has just refused connections. */
const PAUSE_MS = 3_000;

/** One user: sends numbers to a partner, and notes what comes and when it was cut off. */
class User {
  readonly got: number[] = [];
  /** Time from BYE to the next session, ms, one per node that stopped under it. */
  readonly gaps: number[] = [];
  /** Reasons of connections that ended without BYE. */
  readonly unannounced: string[] = [];
  readonly errnos = new Set<number>();
  /** Errors of the library itself. */
  readonly refused: unknown[] = [];
  sent = 0;
  acknowledged = 0;
  failed = 0;
  #cutAt = 0;
  #told = false;
  #online = false;

  private constructor(readonly client: Client, readonly id: number) {}

  static async enter(port: number, name: string): Promise<User> {
    const early: ClientEvent[] = [];
    let take = (event: ClientEvent): void => void early.push(event);
    const client = await connect({ port, onEvent: (event) => take(event) });
    const id = await client.register(name, "correct horse");
    await client.login({ id, password: "correct horse" });
    const user = new User(client, id);
    take = (event) => user.take(event);
    for (const event of early) user.take(event);
    return user;
  }

  take(event: ClientEvent): void {
    switch (event.type) {
      case "message":
        this.got.push(Number(event.message.msg));
        break;
      case "sent":
        this.acknowledged++;
        break;
      case "failed":
        this.failed++;
        break;
      case "bye":
        this.errnos.add(event.errno);
        this.#told = true;
        this.#cutAt = performance.now();
        break;
      case "connection":
        if (event.state === "online") break;
        if (event.state === "offline" && event.reason === "") break; // our own end
        if (this.#online && !this.#told) this.unannounced.push(event.reason);
        this.#online = false;
        break;
      case "session":
        if (this.#told) this.gaps.push(performance.now() - this.#cutAt);
        this.#told = false;
        this.#online = true;
    }
  }
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? NaN;
}

Deno.test("a rolling restart under load tells everybody, loses nothing, repeats nothing", async () => {
  await using cluster = await TestCluster.start(NODES, ["--drain-seconds", "1"]);
  const users = await Promise.all(
    Array.from({ length: 2 * PAIRS }, (_, i) => User.enter(cluster.nginx.port, `roller ${i}`)),
  );
  const partner = (i: number) => users[i ^ 1];
  const timer = setInterval(() => {
    for (const [i, user] of users.entries()) {
      const text = String(user.sent++);
      user.client.sendTo(partner(i)?.id ?? 0, text).catch((error) => user.refused.push(error));
    }
  }, SEND_EVERY_MS);

  try {
    for (const node of cluster.nodes) {
      const exit = await node.stop();
      assertEquals(exit.code, 0);
      await node.restart();
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  } finally {
    clearInterval(timer);
  }
  const settled = () =>
    users.every((user, i) =>
      user.acknowledged === user.sent && user.got.length >= (partner(i)?.sent ?? 0)
    );
  await until(settled, 20_000).catch((error) => {
    for (const [i, { sent, acknowledged, got }] of users.entries()) {
      if (acknowledged < sent) console.log(`user ${i}: ${sent - acknowledged} not acknowledged`);
      if (got.length < (partner(i)?.sent ?? 0)) console.log(`user ${i}: ${got.length} came`);
    }
    throw error;
  });
  for (const { client } of users) await client.close();

  for (const [i, user] of users.entries()) {
    assertEquals(user.unannounced, [], `user ${i} was cut off without BYE`);
    assertEquals([user.failed, user.refused], [0, []]);
    const all = Array.from({ length: partner(i)?.sent ?? 0 }, (_, n) => n);
    assertEquals(user.got, all, `user ${i} got every message once and in order`);
    for (const errno of user.errnos) assertEquals(errno, 9);
  }
  const gaps = users.flatMap((user) => user.gaps).sort((a, b) => a - b);
  const [p50, p99] = [quantile(gaps, 0.5), quantile(gaps, 0.99)];
  const messages = users.reduce((sum, user) => sum + user.sent, 0);
  console.log(
    `${gaps.length} reconnections, gap p50 ${Math.round(p50)} ms, p99 ${Math.round(p99)} ms, ` +
      `${messages} messages`,
  );
  assert(gaps.length >= 2 * PAIRS, "every node had its clients");
  assert(p99 < 10_000, `p99 ${p99} ms`);
});

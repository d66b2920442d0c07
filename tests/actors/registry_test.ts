import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { BusPort, Claim, Location, NodeId, UserId } from "../../actors/ports.ts";
import { type PeerMessage, Registry, type RegistryMessage } from "../../actors/routing/registry.ts";
import {
  remoteLocation,
  remoteWorker,
  Replica,
  type ReplicaMessage,
} from "../../actors/routing/replica.ts";
import { workerThread } from "../../actors/routing/router.ts";
import { ActorSystem } from "../../actors/runtime/runtime.ts";
import { inlinePorts } from "../../actors/runtime/link.ts";
import { FakeClock, microtasks } from "../support/fake_clock.ts";

const SPAN = 64; // connection numbers: conn % 64 is the worker
const conn = (n: number, worker = 0) => n * SPAN + worker;

/** What all nodes' claims rest on, as Redis holds it. */
class Entries {
  readonly map = new Map<UserId, Location>();
  /** Every node trusts itself. */
  away = false;
  /** It has just lost all it knew, and grants. */
  emptied = false;

  claim(user: UserId, location: Location, takeover: boolean): Claim {
    const held = this.map.get(user);
    if (this.away) return { granted: true, previous: undefined, isGuess: true };
    const own = held?.node === location.node;
    if (held !== undefined && !own && !takeover) return { granted: false };
    this.map.set(user, location);
    const previous = own ? undefined : held;
    return { granted: true, previous, ...(this.emptied && { isGuess: true }) };
  }
}

/** One node's registry with two workers' replicas, and what it said to whom. */
class Node {
  readonly open = new Set<number>();
  /** Open, and nobody at the other end. */
  readonly left = new Set<number>();
  readonly evicted: number[] = [];
  readonly hinted: { worker: number; users: readonly number[] }[] = [];
  readonly toPeers: { to: NodeId | undefined; message: PeerMessage }[] = [];
  readonly replicas: Replica[];
  readonly registry: Registry;

  /** What its bus does with a claim. */
  claim: BusPort["claim"] = (user, at, takeover) =>
    Promise.resolve(this.entries.claim(user, { node: this.id, conn: at }, takeover));

  constructor(readonly id: NodeId, readonly entries = new Entries()) {
    const clock = new FakeClock();
    const events = { onDeadLetter() {}, onCrash() {}, onGiveUp() {} };
    const main = new ActorSystem(0, clock, events, queueMicrotask);
    const workers = [0, 1];
    this.replicas = workers.map((index) => {
      const worker = new ActorSystem(workerThread(index), clock, events, queueMicrotask);
      const [a, b] = inlinePorts(queueMicrotask);
      main.link(worker.thread, a);
      worker.link(0, b);
      const replica = new Replica(() => {});
      worker.spawn<ReplicaMessage>("replica", () => ({ receive: (m) => replica.apply(m) }));
      worker.spawn("sessions", () => ({
        receive: (m: { type: string; conn?: number; users?: readonly number[] }) => {
          if (m.type === "evict") this.evicted.push(m.conn ?? 0);
          if (m.type === "hint") this.hinted.push({ worker: index, users: m.users ?? [] });
        },
      }));
      return replica;
    });
    const bus: BusPort = {
      counters: { dropped: 0, resets: 0 },
      node: id,
      start: () => Promise.resolve(),
      send() {},
      broadcast() {},
      claim: (user, at, takeover) => this.claim(user, at, takeover),
      release: (user, at) => {
        const held = entries.map.get(user);
        if (held?.node === id && held.conn === at) entries.map.delete(user);
        return Promise.resolve();
      },
      announce: (list) => {
        for (const { user, conn: at } of list) {
          const held = entries.map.get(user);
          if (held === undefined || held.node === id) entries.map.set(user, { node: id, conn: at });
        }
        return Promise.resolve();
      },
      problem: () => undefined,
      close: () => Promise.resolve(),
    };
    this.registry = new Registry(main, {
      bus,
      isOpen: (at) => this.open.has(at),
      isLeft: (at) => this.left.has(at),
      toPeer: (to, message) => this.toPeers.push({ to, message }),
      workers: () => workers,
      later: queueMicrotask,
    });
    for (const worker of workers) this.registry.receive({ type: "attach", worker });
  }

  async login(user: UserId, at: number, takeover = false): Promise<boolean> {
    this.open.add(at);
    const granted = await this.registry.receive({ type: "claim", user, conn: at, takeover });
    await microtasks();
    return granted === true;
  }

  async tell(message: RegistryMessage): Promise<void> {
    await this.registry.receive(message);
    await microtasks();
  }

  async close(at: number): Promise<void> {
    this.open.delete(at);
    await this.tell({ type: "closed", conn: at });
  }

  /** What both workers believe. */
  location(user: UserId): number {
    const [a, b] = this.replicas.map((replica) => replica.location(user));
    assertEquals(a, b, "replicas agree");
    return a ?? 0;
  }
}

Deno.test("the first claim of a user is granted, a second refused, until the first is given up", async () => {
  const node = new Node("n");
  assertEquals(await node.login(7, conn(1)), true);
  assertEquals(node.location(7), conn(1));
  assertEquals(await node.login(7, conn(2, 1)), false);
  assertEquals(await node.login(7, conn(1)), true, "its own: a login that is run again");

  await node.tell({ type: "release", user: 7, conn: conn(2, 1) }); // not its to give
  assertEquals(node.location(7), conn(1));
  await node.tell({ type: "release", user: 7, conn: conn(1) });
  assertEquals(node.location(7), 0);
  assertEquals(await node.login(7, conn(2, 1)), true);
});

Deno.test("two claims at once: one is granted, whoever is first", async () => {
  const node = new Node("n");
  const both = await Promise.all([node.login(7, conn(1)), node.login(7, conn(2))]);
  assertEquals(both, [true, false]);
  assertEquals(node.location(7), conn(1));
  assertEquals(node.entries.map.get(7), { node: "n", conn: conn(1) });
});

Deno.test("a takeover evicts the old connection, whose end then takes nothing from the new", async () => {
  const node = new Node("n");
  await node.login(7, conn(1));
  assertEquals(await node.login(7, conn(2, 1), true), true);
  assertEquals(node.evicted, [conn(1)]);
  await node.close(conn(1));
  assertEquals(node.location(7), conn(2, 1));
});

Deno.test("a connection that closes while its claim is on the way leaves no ghost", async () => {
  const node = new Node("n");
  node.open.add(conn(1));
  const claim = node.registry.receive({ type: "claim", user: 7, conn: conn(1), takeover: false });
  await node.close(conn(1));
  assertEquals(await claim, false);
  assertEquals([node.location(7), node.entries.map.size], [0, 0]);
});

Deno.test("a worker that starts anew gets a snapshot of everybody", async () => {
  const node = new Node("n");
  await node.login(1, conn(1));
  await node.login(2, conn(2, 1));
  const fresh = node.replicas[0];
  fresh?.apply({ type: "snapshot", entries: [] });
  assertEquals(fresh?.size, 0);
  await node.tell({ type: "attach", worker: 0 });
  assertEquals([node.location(1), node.location(2)], [conn(1), conn(2, 1)]);
});

Deno.test("hints go to the worker or node where each user is, and nowhere for who is away", async () => {
  const node = new Node("n");
  await node.login(1, conn(1));
  await node.login(2, conn(2, 1));
  await node.tell({ type: "peer", from: "m", message: { t: "snapshot", seq: 0, list: [3, 0] } });
  node.toPeers.length = 0;
  await node.tell({ type: "hints", users: [1, 2, 3, 4] });
  assertEquals(node.hinted, [{ worker: 0, users: [1] }, { worker: 1, users: [2] }]);
  assertEquals(node.toPeers, [{ to: "m", message: { t: "hints", users: [3] } }]);

  // From a peer they are for users here alone: two nodes must not send a hint back and forth.
  node.toPeers.length = 0;
  await node.tell({ type: "peer", from: "m", message: { t: "hints", users: [3, 1] } });
  assertEquals(node.toPeers, []);
  assertEquals(node.hinted.at(-1), { worker: 0, users: [1] });
});

Deno.test("a gap in a peer's changes asks for a snapshot, and nothing is believed until it comes", async () => {
  const node = new Node("n");
  const peer = (message: PeerMessage) => node.tell({ type: "peer", from: "m", message });
  await peer({ t: "changes", seq: 5, list: [1, 0] });
  assertEquals(node.location(1), 0, "no snapshot yet");
  await peer({ t: "snapshot", seq: 5, list: [1, 0] });
  await peer({ t: "changes", seq: 5, list: [9, 0] }); // the snapshot had it
  assertEquals(node.location(9), 0);
  await peer({ t: "changes", seq: 6, list: [2, 1] });
  assertEquals([node.location(1), node.location(2)], [remoteLocation(0, 0), remoteLocation(0, 1)]);

  node.toPeers.length = 0;
  await peer({ t: "changes", seq: 8, list: [3, 0] });
  assertEquals(node.toPeers, [{ to: "m", message: { t: "ask_snapshot" } }]);
  await peer({ t: "changes", seq: 9, list: [4, 0] });
  assertEquals([node.location(3), node.location(4)], [0, 0]);
  await peer({ t: "snapshot", seq: 9, list: [2, 1, 3, 0, 4, 0] });
  assertEquals(node.location(1), 0, "not in the snapshot: gone meanwhile");
  assertEquals(remoteWorker(node.location(3)), 0);
});

Deno.test("a dead node's users are offline at once, those who came here since are not", async () => {
  const node = new Node("n");
  const list = [1, 0, 2, 0];
  await node.tell({ type: "peer", from: "m", message: { t: "snapshot", seq: 1, list } });
  node.entries.map.set(1, { node: "m", conn: conn(1) });
  assertEquals(await node.login(1, conn(5), true), true);
  assertEquals(node.toPeers.at(-1)?.to, undefined);
  await node.tell({ type: "node_down", node: "m" });
  assertEquals([node.location(1), node.location(2)], [conn(5), 0]);
});

Deno.test("who has left another node may come here before that node's word does", async () => {
  const node = new Node("n");
  const list = [7, 0];
  await node.tell({ type: "peer", from: "m", message: { t: "snapshot", seq: 1, list } });
  node.entries.map.set(7, { node: "m", conn: conn(1) });
  assertEquals(await node.login(7, conn(5)), false, "still there");

  node.entries.map.delete(7);
  node.entries.away = true;
  assertEquals(await node.login(7, conn(6)), false, "there, as far as anybody can tell");
  node.entries.away = false;
  assertEquals(await node.login(7, conn(7)), true);
  await node.tell({ type: "peer", from: "m", message: { t: "changes", seq: 2, list: [7, -1] } });
  assertEquals([node.location(7), node.entries.map.get(7)?.conn], [conn(7), conn(7)]);
});

Deno.test("who is on another node keeps the place while a bus that came back empty has yet to hear of it", async () => {
  const entries = new Entries();
  const [node, other] = [new Node("n", entries), new Node("m", entries)];
  const snapshot = () => {
    const said = other.toPeers.findLast(({ message }) => message.t === "snapshot");
    assert(said !== undefined, "it has stated nothing");
    return { type: "peer", from: "m", message: said.message } as const;
  };
  const ask = { type: "peer", from: "n", message: { t: "ask_snapshot" } } as const;
  const askAgain = {
    type: "peer",
    from: "n",
    message: { t: "ask_snapshot", again: true },
  } as const;
  await other.login(7, conn(1));
  await other.tell(ask);
  await node.tell(snapshot());

  entries.map.clear();
  entries.emptied = true;
  assertEquals(await node.login(7, conn(4)), false, "the bus has lost what it knew");
  entries.emptied = false;
  await other.tell(askAgain);
  assertEquals(entries.map.get(7)?.conn, conn(1), "told to the bus before it is stated");
  await node.tell(snapshot());

  entries.map.clear();
  await node.tell({ type: "reset" });
  assertEquals(await node.login(7, conn(5)), false, "there, as far as anybody can tell");
  other.toPeers.length = 0;
  const reset = other.tell({ type: "reset" });
  await other.tell(ask);
  await reset;
  assertEquals(other.toPeers.map(({ to, message }) => [to, message.t]), [
    [undefined, "snapshot"],
    [undefined, "ask_snapshot"],
  ]);
  await node.tell(snapshot());
  assertEquals(await node.login(7, conn(6)), false, "the bus has heard of it");
  await other.tell({ type: "release", user: 7, conn: conn(1) });
  assertEquals(await node.login(7, conn(7)), true);
});

Deno.test("who leaves while another node states to have them is there, not gone", async () => {
  const node = new Node("n");
  await node.login(7, conn(1));
  // The other's claim was lost, so the bus, when it is asked, says that they are here.
  const message: PeerMessage = { t: "snapshot", seq: 1, list: [7, 1] };
  const stated = node.tell({ type: "peer", from: "m", message });
  await node.close(conn(1));
  await stated;
  assertEquals([node.location(7), node.entries.map.size], [remoteLocation(0, 1), 0]);

  await node.tell({ type: "peer", from: "m", message: { t: "changes", seq: 2, list: [7, -1] } });
  assertEquals(node.location(7), 0);
});

Deno.test("a connection that its client has left takes no place, and keeps none", async () => {
  const node = new Node("n");
  await node.login(7, conn(1));
  node.left.add(conn(2));
  const taken = await node.login(7, conn(2), true);
  const before = node.location(7);
  node.left.add(conn(1));
  const entered = await node.login(7, conn(3));
  await node.close(conn(1));

  assertEquals([taken, before, entered, node.location(7)], [false, conn(1), true, conn(3)]);
  assertEquals(node.evicted, [conn(1)]);
  node.left.add(conn(9));
  assertEquals(await node.login(8, conn(9), true), true); // where nobody is it may enter
});

Deno.test("a claim whose answer comes after the word of a later one gives way", async () => {
  const entries = new Entries();
  const [x, y] = [new Node("x", entries), new Node("y", entries)];
  await x.tell({ type: "node_up", node: "y" });
  await x.tell({ type: "peer", from: "y", message: { t: "snapshot", seq: 0, list: [] } });
  await y.tell({ type: "node_up", node: "x" });
  const answer = Promise.withResolvers<void>();
  const claim = x.claim;
  x.claim = async (...args) => {
    const result = await claim(...args); // granted already
    await answer.promise;
    return result;
  };
  x.open.add(conn(1));
  const claimed = x.tell({ type: "claim", user: 7, conn: conn(1), takeover: true });
  await microtasks();
  x.claim = claim;
  await y.login(7, conn(9), true);
  for (const { to, message } of y.toPeers.splice(0)) {
    if (to !== undefined && to !== "x") continue;
    await x.tell({ type: "peer", from: "y", message });
  }

  answer.resolve();
  await claimed;

  assertEquals(entries.map.get(7), { node: "y", conn: conn(9) });
  assertEquals([x.location(7), y.location(7)], [remoteLocation(0, 0), conn(9)]);
  assertEquals(x.evicted, [conn(1)]);
});

/** Nodes whose messages to each other are in order, late, and may be lost. */
class Network {
  readonly entries = new Entries();
  readonly nodes: Node[] = ["a", "b", "c"].map((id) => new Node(id, this.entries));
  readonly #queues = new Map<string, { to: Node; from: NodeId; message: PeerMessage }[]>();

  collect(): void {
    for (const node of this.nodes) {
      for (const { to, message } of node.toPeers.splice(0)) {
        for (const other of this.nodes) {
          if (other === node || (to !== undefined && to !== other.id)) continue;
          const key = `${node.id}>${other.id}`;
          const queue = this.#queues.get(key) ?? [];
          this.#queues.set(key, queue);
          queue.push({ to: other, from: node.id, message });
        }
      }
    }
  }

  /** Delivers, or loses, the first message of some channel; false when there is none. */
  async step(pick: number, lose: boolean): Promise<boolean> {
    this.collect();
    const busy = [...this.#queues.values()].filter((queue) => queue.length > 0);
    const next = busy[pick % Math.max(1, busy.length)]?.shift();
    if (next === undefined) return false;
    if (!lose) {
      await next.to.tell({ type: "peer", from: next.from, message: next.message });
      await this.obey();
    }
    return true;
  }

  /** Sessions that are told to go, go. */
  async obey(): Promise<void> {
    for (const node of this.nodes) for (const at of node.evicted.splice(0)) await node.close(at);
  }

  async drain(): Promise<void> {
    for (let n = 0; await this.step(n, false); n++);
  }
}

const action = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("login"), user: fc.nat(3), node: fc.nat(2) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("resume"), user: fc.nat(3), node: fc.nat(2) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("close"), user: fc.nat(3), node: fc.nat(2) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("deliver"), user: fc.nat(5), node: fc.nat(2) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("lose"), user: fc.nat(5), node: fc.nat(2) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("away"), user: fc.nat(1), node: fc.nat(2) }),
  },
);

Deno.test("after loss and outages all nodes agree on where everybody is, and nobody is twice", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 60 }), async (actions) => {
      const network = new Network();
      const { nodes, entries } = network;
      let next = 1;
      for (const { do: what, user, node: n } of actions) {
        const node = nodes[n];
        assert(node !== undefined);
        if (what === "login" || what === "resume") {
          await node.login(user + 1, conn(next++, next % 2), what === "resume");
        } else if (what === "close") {
          const at = node.location(user + 1);
          if (at > 0) await node.close(at);
        } else if (what === "away") entries.away = user === 1;
        else await network.step(user, what === "lose");
        await network.obey();
      }

      // The bus comes back: it tells every node that things may have been lost.
      entries.away = false;
      for (let round = 0; round < 3; round++) {
        for (const node of nodes) await node.tell({ type: "reset" });
        await network.drain();
      }

      for (const user of [1, 2, 3, 4]) {
        const at = nodes.filter((node) => node.location(user) > 0);
        assert(at.length <= 1, `user ${user} is on ${at.map((node) => node.id)}`);
        const home = at[0];
        assertEquals(entries.map.get(user), home && { node: home.id, conn: home.location(user) });
        for (const node of nodes) {
          if (node === home) continue;
          const location = node.location(user);
          assertEquals(
            location < 0,
            home !== undefined,
            `${node.id} about user ${user}: ${location}`,
          );
          if (home !== undefined) assertEquals(remoteWorker(location), home.location(user) % SPAN);
        }
      }
    }),
    { numRuns: 300 },
  );
});

import { assertEquals } from "@std/assert";
import { WORKER_SPAN } from "../../actors/runtime/lane.ts";
import {
  remoteLocation,
  remoteNodeIndex,
  remoteWorker,
  Replica,
} from "../../actors/routing/replica.ts";

Deno.test("a location on another node keeps its node and worker apart", () => {
  for (const node of [0, 1, 63, 1_000_000]) {
    for (const worker of [0, 1, WORKER_SPAN - 1]) {
      const location = remoteLocation(node, worker);
      assertEquals([location < 0, remoteNodeIndex(location), remoteWorker(location)], [
        true,
        node,
        worker,
      ]);
    }
  }
});

Deno.test("a replica tells who came and went, not who moved", () => {
  const told: [number, boolean][] = [];
  const replica = new Replica((user, online) => told.push([user, online]));
  replica.apply({ type: "snapshot", entries: [1, 64, 2, 128] });
  replica.apply({ type: "changes", entries: [1, 192, 3, -1, 2, 0, 4, 0] });
  assertEquals(told, [[1, true], [2, true], [3, true], [2, false]]);
  assertEquals([1, 2, 3, 4].map((user) => replica.location(user)), [192, 0, -1, 0]);
  assertEquals(replica.size, 2);
});

Deno.test("a snapshot replaces everything before it", () => {
  const told: [number, boolean][] = [];
  const replica = new Replica((user, online) => told.push([user, online]));
  assertEquals(replica.complete, false);
  replica.apply({ type: "changes", entries: [1, 64, 2, 64] });
  replica.apply({ type: "snapshot", entries: [2, 128, 3, 128] });
  assertEquals(replica.complete, true);
  assertEquals([1, 2, 3].map((user) => replica.location(user)), [0, 128, 128]);
  assertEquals(told, [[1, true], [2, true], [1, false], [3, true]]);
});

Deno.test("a replica knows nodes by their index", () => {
  const replica = new Replica(() => {});
  replica.apply({ type: "node", index: 2, node: "abc" });
  assertEquals([replica.nodeId(2), replica.nodeId(0)], ["abc", undefined]);
});

/** Private services: that they start, take faults, keep data, and never outlive us. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { startMariaDb, startNginx, startRedis } from "../server/cluster/services.ts";

Deno.test("smoke", async () => {
  const dir = await Deno.makeTempDir();
  const t0 = performance.now();
  const db = await startMariaDb({ dir });
  const t1 = performance.now();
  const redis = await startRedis({ dir });
  const t2 = performance.now();
  const nginx = await startNginx({ dir, backends: ["127.0.0.1:6000"] });
  const t3 = performance.now();
  console.log(t1 - t0, t2 - t1, t3 - t2, db.url, redis.url, nginx.port);
  await db.restart();
  const t4 = performance.now();
  await redis.kill9();
  await redis.restart();
  const t5 = performance.now();
  await nginx.reload(["127.0.0.1:6000", "127.0.0.1:6001"]);
  const t6 = performance.now();
  console.log(t4 - t3, t5 - t4, t6 - t5);
  await Promise.all([db.stop(), redis.stop(), nginx.stop()]);
  console.log(performance.now() - t6);
  await Deno.remove(dir, { recursive: true });
});

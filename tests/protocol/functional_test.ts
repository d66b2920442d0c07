/** Every request of the protocol against real servers: one thread, one session worker, two. */

import { CLASSIC_STEPS } from "./classic_suite.ts";
import { TestServer } from "../support/server_harness.ts";
import { V2_STEPS } from "./v2_suite.ts";

for (const workers of [0, 1, 2]) {
  Deno.test(`the protocol with --workers ${workers}`, async (t) => {
    await using server = await TestServer.start({ workers });
    for (const { name, run } of [...CLASSIC_STEPS, ...V2_STEPS]) {
      await t.step({
        name,
        fn: () => run(server),
        // The server's output is read all the while; the test around the steps checks for leaks.
        sanitizeOps: false,
        sanitizeResources: false,
      });
    }
  });
}

/** The log: whoever writes a line neither waits nor fails. */

import { assert, assertEquals } from "@std/assert";
import { createLog } from "../../server/observe/log.ts";
import { settle } from "../support/fake_clock.ts";

const FLUSH_MS = 5_000;

Deno.test("lines are written whole and in order, however little the writer takes", async () => {
  let text = "";
  const log = createLog("info", false, {
    write(bytes) {
      text += String.fromCharCode(...bytes.subarray(0, 7));
      return Promise.resolve(Math.min(7, bytes.length));
    },
  });

  log.debug("not this");
  for (let n = 0; n < 20; n++) log.info("event", { n });
  await log.flushed(FLUSH_MS);

  const lines = text.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(lines.map(({ n }) => n), Array.from({ length: 20 }, (_, n) => n));
  assertEquals(log.dropped(), 0);
});

Deno.test("what cannot be written is dropped and counted, and what can be follows", async () => {
  const written: string[] = [];
  const log = createLog("info", false, {
    write(bytes) {
      const text = new TextDecoder().decode(bytes);
      if (text.includes("full")) return Promise.reject(new Error("no space left on device"));
      written.push(text);
      return Promise.resolve(bytes.length);
    },
  });

  for (const event of ["full", "full", "room again"]) log.error(event);
  await log.flushed(FLUSH_MS);

  assertEquals([written.length, log.dropped()], [1, 2]);
});

Deno.test("a writer that stands still holds up nobody and no more than a bound", async () => {
  let release = () => {};
  const held = new Promise<void>((resolve) => release = resolve);
  let bytesWritten = 0;
  const log = createLog("info", false, {
    async write(bytes) {
      await held;
      bytesWritten += bytes.length;
      return bytes.length;
    },
  });

  const text = "x".repeat(10_000);
  for (let n = 0; n < 500; n++) log.info(text);
  await log.flushed(1); // gives up
  const dropped = log.dropped();
  release();
  await settle();
  await log.flushed(FLUSH_MS);

  assert(dropped > 300, `${dropped} dropped`);
  assert(bytesWritten < 2 * 1024 * 1024, `${bytesWritten} bytes were kept`);
});

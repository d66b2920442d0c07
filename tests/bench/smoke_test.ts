/** The bench itself: its programs start, nothing is lost in them, and the table can be read. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { z } from "zod";
import { tally } from "../../bench/profile/tally.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));

const Report = z.object({
  rows: z.array(z.object({
    workload: z.string(),
    samples: z.array(z.object({ value: z.number(), failures: z.array(z.string()) })),
    floors: z.array(z.object({ value: z.number() }).nullable()),
  })),
});

Deno.test("a tiny bench loses nothing and prints a row for each workload, with its ratio", async () => {
  const dir = await Deno.makeTempDir({ prefix: "bench-smoke-" });
  try {
    const names = ["pairs-50", "group-offline-v2"];
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--cached-only", "--allow-all", "bench/main.ts", ...names],
        ...["--runs", "1", "--secs", "0.5", "--warm", "0.2", "--json", `${dir}/report.json`],
      ],
      cwd: ROOT,
    }).output();
    const table = new TextDecoder().decode(stdout);
    assertEquals(code, 0, table + new TextDecoder().decode(stderr));

    const report = Report.parse(JSON.parse(await Deno.readTextFile(`${dir}/report.json`)));
    const [pairs, group] = report.rows;
    assertEquals(report.rows.map((row) => row.workload), names);
    assertEquals(report.rows.flatMap((row) => row.samples.flatMap((s) => s.failures)), []);
    assert((pairs?.samples[0]?.value ?? 0) > 0 && (group?.samples[0]?.value ?? 0) > 0);
    assert((pairs?.floors[0]?.value ?? 0) > 0);
    assertMatch(table, /^workload .*×floor/m);
    assertMatch(table, /^pairs-50 .*\/s .*\d\.\d\d .* ok$/m);
    assertMatch(table, /^group-offline-v2 .*\/s .* ok$/m);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a profile names every thread of the server and writes one flame graph of all", async () => {
  const dir = await Deno.makeTempDir({ prefix: "profile-smoke-" });
  try {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--cached-only", "--allow-all", "bench/profile.ts", "pairs", "--v", "2"],
        ...["--n", "5", "--secs", "0.5", "--warm", "0", "--workers", "1", "--out", dir],
      ],
      cwd: ROOT,
    }).output();
    const list = new TextDecoder().decode(stdout);
    assertEquals(code, 0, list + new TextDecoder().decode(stderr));

    for (const thread of ["main", "session_worker.ts", "store_worker.ts"]) {
      assertMatch(list, new RegExp(`^── ${thread}.*: busy`, "m"));
    }
    assertStringIncludes(list, "op_write"); // the main thread owns the sockets
    const page = await Deno.readTextFile(`${dir}/flame.html`);
    assertStringIncludes(page, "op_write");
    assertStringIncludes(page, "session_worker.ts");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a profile's total counts recursion once and leaves out waiting", () => {
  const frame = (functionName: string) => ({ functionName, url: "", lineNumber: 0 });
  const nodes = [
    { id: 1, callFrame: frame("(root)"), children: [2, 5] },
    { id: 2, callFrame: frame("a"), children: [3] },
    { id: 3, callFrame: frame("b"), children: [4] },
    { id: 4, callFrame: frame("a") },
    { id: 5, callFrame: frame("(idle)") },
  ];

  // Each sample lasts until the next one: 1 ms in a, 2 in b, 3 in the inner a, 4 idle.
  const { wallMs, busyMs, functions, flame } = tally({
    nodes,
    samples: [2, 3, 4, 5, 5],
    timeDeltas: [0, 1_000, 2_000, 3_000, 4_000],
  });

  assertEquals([wallMs, busyMs, flame.ms], [10, 6, 6]);
  assertEquals(functions, [
    { name: "a", selfMs: 4, totalMs: 6 },
    { name: "b", selfMs: 2, totalMs: 5 },
  ]);
});

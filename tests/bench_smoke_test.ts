/** The bench itself: its programs start, nothing is lost in them, and the table can be read. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { z } from "zod";

const ROOT = fromFileUrl(new URL("../", import.meta.url));

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

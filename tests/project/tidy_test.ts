/** What no reviewer should have to look for. */

import { assertEquals } from "@std/assert";
import { ROOT } from "../support/server_harness.ts";

/** Longer files are to be split by owner; a few are close to one thing all through. */
const MAX_SOURCE_LINES = 650;

/** Text files under version control, and those not yet added to it. */
async function files(): Promise<Map<string, string>> {
  const { stdout, success } = await new Deno.Command("git", {
    args: ["ls-files", "--cached", "--others", "--exclude-standard", "-z"],
    cwd: ROOT,
  }).output();
  if (!success) throw new Error("git ls-files failed");
  const texts = new Map<string, string>();
  for (const path of new TextDecoder().decode(stdout).split("\0")) {
    if (path === "" || path === "deno.lock" || path === "tests/project/tidy_test.ts") continue;
    try {
      texts.set(path, await Deno.readTextFile(ROOT + path));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error; // deleted, not yet committed
    }
  }
  return texts;
}

/** Places where `pattern` is found, as path:line. */
function places(texts: ReadonlyMap<string, string>, pattern: RegExp, only = /./): string[] {
  const found: string[] = [];
  for (const [path, text] of texts) {
    if (!only.test(path)) continue;
    for (const [at, line] of text.split("\n").entries()) {
      if (pattern.test(line)) found.push(`${path}:${at + 1}: ${line.trim()}`);
    }
  }
  return found;
}

const TYPESCRIPT = /\.ts$/;

Deno.test("nothing is left to be done, and nothing is switched off without a reason", async () => {
  const texts = await files();
  assertEquals(places(texts, /\b(FIXME|TODO|XXX|HACK)\b/), []);
  assertEquals(places(texts, /deno-lint-ignore(?!.* -- )/, TYPESCRIPT), []);
  assertEquals(places(texts, /@ts-(ignore|expect-error|nocheck)/, TYPESCRIPT), []);
  assertEquals(places(texts, /Deno\.test\.(only|ignore)|\b(only|ignore): true/, TYPESCRIPT), []);
  assertEquals(places(texts, /^<{7}|^={7}$|^>{7}/), [], "merge marks");
});

Deno.test("types are known: no any, no cast through any", async () => {
  const texts = await files();
  const any = /(:|<|\bas) any(?=\s*[\[\];,)>=|&]|\s*$)/;
  const reasoned = /deno-lint-ignore no-explicit-any -- /;
  const found = places(texts, any, TYPESCRIPT).filter((place) => {
    const [path = "", line] = place.split(":");
    const before = texts.get(path)?.split("\n")[Number(line) - 2] ?? "";
    return !reasoned.test(before) && !/^\S+ (\*|\/\/)/.test(place);
  });
  assertEquals(found, []);
});

Deno.test("no file names a machine, a home directory or how the work was organised", async () => {
  const texts = await files();
  assertEquals(
    places(texts, /(^|[\s"'`(=:])\/(root|home\/\w+|Users\/\w+|work\/(main|shared))\b/),
    [],
  );
  assertEquals(places(texts, /registry\.npmjs\.org|npm\.pkg\.|\.local\/|localhost:4873/), []);
  assertEquals(places(texts, /[ \t]+$/, /\.(ts|sql|sh|conf)$/), [], "trailing spaces");
});

Deno.test("sources are small enough to read", async () => {
  const long = [...await files()]
    .filter(([path]) => /^(server|actors|client)\/.*\.ts$/.test(path))
    .map(([path, text]) => ({ path, lines: text.split("\n").length - 1 }))
    .filter(({ lines }) => lines > MAX_SOURCE_LINES);
  assertEquals(long, []);
});

Deno.test("the server prints through its log, and only its programs print to the user", async () => {
  const texts = await files();
  const programs =
    /^(server|actors)\/(?!main\.ts|launch\.ts|cluster\/main\.ts|migrate_store\.ts|admin\/).*\.ts$/;
  assertEquals(places(texts, /\bconsole\./, programs), []);
});

/** The documents say what the program does: tables are compared with the code they describe. */

import { assert, assertEquals } from "@std/assert";
import { ERRNO } from "@chat/wire/errors.ts";
import { MSGID } from "@chat/wire/messages.ts";
import { FLAGS } from "../../server/settings/flags.ts";
import { ROOT } from "../support/server_harness.ts";

const read = (path: string) => Deno.readTextFile(`${ROOT}${path}`);

/** Cells of every table row, without the marks around code. */
function rows(text: string): string[][] {
  return text.split("\n").filter((line) => line.startsWith("|")).map((line) =>
    line.slice(1, -1).split(/(?<!\\)\|/).map((cell) =>
      cell.trim().replaceAll("\\|", "|").replaceAll("`", "")
    )
  );
}

Deno.test("the README's table of flags is the parser's", async () => {
  const table = rows(await read("README.md")).filter(([flag]) => /^--[a-z]/.test(flag ?? ""));

  const flags = FLAGS.map((f) => [`--${f.name} ${f.value}`, f.fallback, f.help]);
  assertEquals(table, flags);
});

Deno.test("the README stays short and its links lead somewhere", async () => {
  const text = await read("README.md");

  assert(text.split("\n").length <= 151);
  for (const [, path = ""] of text.matchAll(/\]\(((?!https?:)[^)#]+)\)/g)) {
    assert((await Deno.stat(`${ROOT}${path}`)).isFile, path);
  }
});

Deno.test("docs/protocol.md names every msgid by its number, and every errno", async () => {
  const text = await read("docs/protocol.md");
  const cells = rows(text);
  const numbers = new Map<string, string>();
  for (const row of cells) {
    for (let i = 0; i + 1 < row.length; i++) {
      if (/^\d+$/.test(row[i] ?? "")) numbers.set(row[i + 1] ?? "", row[i] ?? "");
    }
  }

  for (const [name, msgid] of Object.entries(MSGID)) {
    assertEquals(numbers.get(name), String(msgid), name);
    assert(new RegExp(`${name} \\(${msgid}\\)`).test(text), `no section of ${name}`);
  }
  const errnos = new Set(cells.map(([first]) => first));
  for (const { errno } of Object.values(ERRNO)) assert(errnos.has(String(errno)), `errno ${errno}`);
});

Deno.test("docs/architecture.md gives a reason for every dependency", async () => {
  const { imports } = JSON.parse(await read("deno.json")) as { imports: Record<string, string> };
  const reasons = new Set(rows(await read("docs/architecture.md")).map(([name]) => name));

  for (const target of Object.values(imports)) {
    const [, name] = /^npm:((?:@[^@/]+\/)?[^@/]+)@\d+\.\d+\.\d+/.exec(target) ?? [];
    if (target.startsWith("./")) continue;
    assert(name !== undefined, `${target} is not pinned`);
    assert(reasons.has(name), `no reason for ${name}`);
  }
});

Deno.test("docs/architecture.md says of every source folder what it is", async () => {
  const told = new Set(rows(await read("docs/architecture.md")).map(([name]) => name));

  for (const top of ["server", "actors", "client"]) {
    for await (const folder of sourceFolders(top)) assert(told.has(folder), `no line on ${folder}`);
  }
});

/** Folders that hold modules, from `folder` down. */
async function* sourceFolders(folder: string): AsyncGenerator<string> {
  let holdsModules = false;
  for await (const entry of Deno.readDir(`${ROOT}${folder}`)) {
    if (entry.isDirectory) yield* sourceFolders(`${folder}/${entry.name}`);
    else holdsModules ||= entry.name.endsWith(".ts");
  }
  if (holdsModules) yield folder;
}

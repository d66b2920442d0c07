import { assert, assertEquals } from "@std/assert";
import { COMMAND_LIST } from "../../client/chat/commands/command_table.ts";
import { flagHelp } from "../../client/flags.ts";
import { steady, takeScreens, withScreens } from "../../docs/captures.ts";

const document = await Deno.readTextFile(new URL("../../docs/client.md", import.meta.url));

Deno.test("the screens in docs/client.md are what the program shows (`deno task captures` renews them)", async () => {
  const now = withScreens(document, await takeScreens());

  assertEquals(steady(document), steady(now));
});

Deno.test("docs/client.md has every flag and every command", () => {
  const flags = [...flagHelp().matchAll(/^ {2}(--[a-z]+)/gm)].map((match) => match[1] ?? "");

  assert(flags.length > 5);
  for (const flag of flags) assert(document.includes(`| \`${flag}`), flag);
  for (const [name, spec] of COMMAND_LIST) {
    const shown = spec.isClassic === true ? `${name}:` : `/${name}`;
    assert(document.includes(shown), name);
  }
});

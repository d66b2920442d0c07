import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { FlagError, flagHelp, parseFlags } from "../../client/flags.ts";
import { freshProfile } from "../../client/profile/fresh_profile.ts";
import { InputHistory } from "../../client/terminal/input/input_history.ts";
import {
  configDirectory,
  isFor,
  isOfServer,
  Profile,
  ProfileError,
} from "../../client/profile/profile.ts";
import { rowText } from "../../client/terminal/screen/screen.ts";
import { readPlace } from "../../client/terminal/sign_in.ts";

async function directory(): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.makeTempDir({ prefix: "chat-profile-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

const DATA = freshProfile(
  { host: "h", port: 1, tls: false, ca: undefined },
  { id: 1, name: "alice", friends: [], groups: [], token: "secret", node: "" },
  "device-1",
);

const permissions = async (path: string) => ((await Deno.stat(path)).mode ?? 0) & 0o777;

Deno.test("a profile is found again as it was saved, for its owner only", async () => {
  await using dir = await directory();
  const profile = await Profile.open(dir.path, "work");

  assertEquals((await profile.load()).data, undefined);
  await Promise.all([profile.save({ ...DATA, name: "old" }), profile.save(DATA)]);
  const again = await Profile.open(dir.path, "work");

  assertEquals(await again.load(), { data: DATA, damaged: undefined });
  assertEquals(await permissions(join(dir.path, "work")), 0o700);
  assertEquals(await permissions(join(dir.path, "work", "profile.json")), 0o600);
});

Deno.test("a damaged profile is set aside and not written over", async () => {
  await using dir = await directory();
  const profile = await Profile.open(dir.path, "default");
  const file = join(dir.path, "default", "profile.json");

  for (const text of ["{", '{"version":9}', ""]) {
    await Deno.writeTextFile(file, text);
    const { data, damaged } = await profile.load();

    assertEquals(data, undefined);
    assertEquals(await Deno.readTextFile(damaged ?? ""), text);
  }
});

Deno.test("a profile's name cannot leave the directory of profiles", async () => {
  await using dir = await directory();

  for (const name of ["..", "a/b", "", ".hidden", "a b", "x".repeat(65)]) {
    await assertRejects(() => Profile.open(dir.path, name), ProfileError);
  }
});

Deno.test("profiles are kept where the system keeps configuration", () => {
  const env = (values: Record<string, string>) => (name: string) => values[name];

  assertEquals(configDirectory(env({ XDG_CONFIG_HOME: "/x", HOME: "/h" })), "/x/chat-client");
  assertEquals(configDirectory(env({ HOME: "/h" })), "/h/.config/chat-client");
  assertThrows(() => configDirectory(env({})), ProfileError);
});

Deno.test("the input history is kept in order, bounded, and survives a torn line", async () => {
  await using dir = await directory();
  const path = join(dir.path, "history");
  const history = await InputHistory.open(path);
  for (const text of ["one", "two\nlines", "two\nlines", " secret", ""]) await history.add(text);
  await Deno.writeTextFile(path, '"torn', { append: true });

  assertEquals((await InputHistory.open(path)).entries, ["one", "two\nlines"]);
  assertEquals(await permissions(path), 0o600);
  await Deno.writeTextFile(path, Array.from({ length: 2_500 }, (_, n) => `"${n}"\n`).join(""));
  assertEquals((await InputHistory.open(path)).entries.length, 1_000);
  assertEquals((await Deno.readTextFile(path)).split("\n").length, 1_001);
});

Deno.test("flags are read from one table, the environment stands in for them", () => {
  const none = () => undefined;

  const flags = parseFlags(["--host", "h", "--port=7000", "--exec", "a", "--exec", "b"], none);
  const fromEnv = parseFlags([], (name) => name === "CHAT_PORT" ? "7001" : undefined);

  assertEquals([flags.host, flags.port, flags.exec], ["h", 7000, ["a", "b"]]);
  assertEquals([fromEnv.port, fromEnv.exec, fromEnv.json], [7001, undefined, false]);
  assertEquals(parseFlags(["--ca", "f"], none).tls, true);
  for (const args of [["--bogus"], ["word"], ["--port", "0"], ["--port", "x"], ["--name"]]) {
    assertThrows(() => parseFlags(args, none), FlagError);
  }
  for (const flag of ["--host", "--exec", "--plain", "CHAT_PASSWORD"]) {
    assert(flagHelp().includes(flag));
  }
});

Deno.test("a server is named as host, host and port, or an address in brackets", () => {
  const offered = { host: "offered", port: 6000 };

  assertEquals(readPlace("", offered), offered);
  assertEquals(readPlace("chat.example", offered), { host: "chat.example", port: 6000 });
  assertEquals(readPlace("chat.example:7", offered), { host: "chat.example", port: 7 });
  assertEquals(readPlace("[::1]:7", offered), { host: "::1", port: 7 });
  for (const wrong of ["a b", "h:0", "h:99999", "::1", "h:"]) {
    assertEquals(readPlace(wrong, offered), undefined);
  }
});

Deno.test("a row is cut at the window's edge, and doubtful emoji are pinned to their columns", () => {
  assertEquals(rowText([{ text: "abc" }, { text: "漢字" }], 6, false), "abc漢…");
  assertEquals(
    rowText([{ text: "red", style: { color: 1, bold: true } }], 10, true),
    "\x1b[0m\x1b[1;31mred\x1b[0m",
  );
  assertEquals(
    rowText([{ text: "red", style: { color: 1, bold: true } }], 10, false),
    "\x1b[0m\x1b[1mred\x1b[0m",
  );
  assertEquals(rowText([{ text: "a❤️b" }], 10, false), "a  \x1b[2G❤️\x1b[4Gb");
});

Deno.test("a saved login, and what is unsent of it, go nowhere but to the server they are of", () => {
  const place = { host: "chat.example", port: 6000, tls: true, ca: undefined };
  const session = { id: 1, name: "ann", friends: [], groups: [], token: "t", node: "" };
  const saved = freshProfile(place, session, "device");
  const nothing = { name: undefined, host: undefined, port: undefined, tls: false, ca: undefined };
  assertEquals([isFor(saved, nothing), isOfServer(saved, nothing)], [true, true]);
  assertEquals(isFor(saved, { ...nothing, ...place, name: "ann" }), true);
  assertEquals([isFor(saved, { ...nothing, name: "bob" }), isOfServer(saved, nothing)], [
    false,
    true,
  ]);
  for (const other of [{ host: "evil.example" }, { port: 6001 }, { ca: "other.pem" }]) {
    assertEquals(isOfServer(saved, { ...nothing, ...other }), false, JSON.stringify(other));
  }
  const plain = { ...saved, tls: false };
  assertEquals(isOfServer(plain, { ...nothing, tls: true }), false);
});

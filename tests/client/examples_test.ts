import { assert, assertEquals } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { connect } from "../../client/mod.ts";
import { cleanEnv, ROOT, taskCommand, TestServer } from "../support/server_harness.ts";

const PASSWORD = "correct-horse-battery";

/** A pipeline as docs/client.md has it; `client` and `deno` stand for the commands there. */
function pipeline(script: string, cwd: string): Deno.ChildProcess {
  const { command, args } = taskCommand("client");
  const client = [command, ...args.map((arg) => arg === "client/main.ts" ? `${ROOT}${arg}` : arg)];
  return new Deno.Command("sh", {
    args: ["-c", script],
    cwd,
    env: cleanEnv({
      CLIENT: client.join(" "),
      DENO: `${Deno.execPath()} run --quiet --config ${ROOT}deno.json`,
      EXAMPLES: `${ROOT}client/examples`,
    }),
    clearEnv: true,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function directory(): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.makeTempDir({ prefix: "chat-examples-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

Deno.test("the bot of the documentation answers", async () => {
  await using dir = await directory();
  await using server = await TestServer.start();
  const bot = pipeline(
    `mkfifo commands
     CHAT_PASSWORD=${PASSWORD} $CLIENT --json --port ${server.port} --name bot --register < commands |
       $DENO $EXAMPLES/bot.ts > commands`,
    dir.path,
  );
  const alice = await connect({ port: server.port });
  await alice.register("alice", PASSWORD);
  await alice.login({ name: "alice", password: PASSWORD });
  const friend = await untilRegistered(() => alice.addFriend("bot"));
  await alice.sendTo(friend.id, "hello");
  await alice.sendTo(friend.id, "/leave");

  let answer = "";
  for await (const event of alice) {
    if (event.type !== "message") continue;
    answer = event.message.msg;
    break;
  }
  const { code } = await deadline(bot.output(), 20_000);
  await alice.close();

  assertEquals(answer, "alice, you wrote 5 characters.");
  assertEquals(code, 0);
});

/** Tries until the bot has made its account. */
async function untilRegistered<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 0;; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (tries === 400) throw error;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
}

Deno.test("the notifier of the documentation tells what comes in, on one line and harmless", async () => {
  await using dir = await directory();
  await using server = await TestServer.start();
  const bob = await connect({ port: server.port });
  const me = await bob.register("me", PASSWORD);
  await bob.register("bob", PASSWORD);
  await bob.login({ name: "bob", password: PASSWORD });
  await bob.sendTo(me, "two\nlines \x1b[2J");
  assert(await bob.drained(10_000));

  const notifier = pipeline(
    `printf '/wait 1\\n/quit\\n' |
       CHAT_PASSWORD=${PASSWORD} $CLIENT --json --port ${server.port} --name me |
       $DENO $EXAMPLES/notifier.ts`,
    dir.path,
  );
  const { stdout } = await deadline(notifier.output(), 20_000);
  await bob.close();

  assertEquals(new TextDecoder().decode(stdout), "bob: two lines  [2J\n");
});

Deno.test("bulk registration makes every account, and fails when one exists", async () => {
  await using dir = await directory();
  await using server = await TestServer.start();
  const people = Array.from({ length: 20 }, (_, n) => `person${n} ${PASSWORD}${n}`).join("\n");
  await Deno.writeTextFile(`${dir.path}/people.txt`, people);
  const script =
    `$DENO $EXAMPLES/bulk_register.ts < people.txt | $CLIENT --json --port ${server.port}`;

  const first = await deadline(pipeline(script, dir.path).output(), 20_000);
  const second = await deadline(pipeline(script, dir.path).output(), 20_000);
  const client = await connect({ port: server.port });
  const session = await client.login({ name: "person7", password: `${PASSWORD}7` });
  await client.close();

  assertEquals([first.code, second.code], [0, 1]);
  assertEquals(session.name, "person7");
  assert(!new TextDecoder().decode(first.stdout).includes(PASSWORD));
});

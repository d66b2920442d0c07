/**
 * `deno task serve`: reads the settings, then becomes the node, with the narrowest permissions that
 * they allow (node_command.ts). Deno cannot give permissions up in part once it runs, hence a
 * program of its own.
 *
 * It becomes the node by `execv`: the same process, so that whoever signals, kills, stops or waits
 * for it deals with the node itself, and no launcher stays in memory (20 ms at the start is all it
 * costs). Where there is no `execv` (Windows), the node is a child: its exit status is passed on.
 */

import { type Invocation, OPEN_FILES, readConfig } from "./settings/config.ts";
import { ConfigError } from "./settings/flag_values.ts";
import { helpText } from "./settings/flags.ts";
import { type Command, nodeCommand } from "./settings/node_command.ts";

const FAILED = 1;

function stopWith(text: string): never {
  console.error(`chat server: ${text}`);
  Deno.exit(FAILED);
}

function read(): Invocation {
  try {
    return readConfig(Deno.args, (name) => Deno.env.get(name), navigator.hardwareConcurrency);
  } catch (error) {
    if (error instanceof ConfigError) stopWith(error.message);
    throw error;
  }
}

const SYMBOLS = {
  execv: { parameters: ["buffer", "buffer"], result: "i32" },
} as const;
/** glibc, musl (Alpine), macOS. */
const LIBRARIES = ["libc.so.6", `libc.musl-${Deno.build.arch}.so.1`, "libSystem.dylib"];

function openLibc(): Deno.DynamicLibrary<typeof SYMBOLS> | undefined {
  if (Deno.build.os === "windows") return undefined;
  for (const name of LIBRARIES) {
    try {
      return Deno.dlopen(name, SYMBOLS);
    } catch { // another system's
    }
  }
  return undefined;
}

/** Returns only when this system cannot do it. */
function become({ command, args }: Command): void {
  const libc = openLibc();
  if (libc === undefined) return;
  const texts = [command, ...args].map((text) => new TextEncoder().encode(`${text}\0`));
  const pointers = new BigUint64Array(texts.length + 1); // ends with a null pointer
  texts.forEach((text, i) => {
    pointers[i] = BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(text)));
  });
  const [path] = texts;
  if (path !== undefined) libc.symbols.execv(path, new Uint8Array(pointers.buffer));
  libc.close();
}

async function runAsChild({ command, args }: Command): Promise<never> {
  const child = new Deno.Command(command, { args }).spawn();
  const signals: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];
  for (const signal of signals) Deno.addSignalListener(signal, () => child.kill(signal));
  const { code } = await child.status;
  Deno.exit(code);
}

/** How many files this process, and so the node, may have open; undefined where nobody says. */
async function openFiles(): Promise<number | undefined> {
  if (Deno.build.os === "windows") return undefined;
  try {
    const { stdout } = await new Deno.Command("sh", { args: ["-c", "ulimit -n"] }).output();
    const count = Number(new TextDecoder().decode(stdout));
    return Number.isSafeInteger(count) && count > 0 ? count : undefined;
  } catch {
    return undefined; // no shell: as many as there are, then
  }
}

const invocation = read();
if (invocation.help) {
  console.log(helpText());
} else {
  const files = await openFiles();
  if (files !== undefined) Deno.env.set(OPEN_FILES, `${files}`);
  const command = nodeCommand(invocation.config, Deno.args);
  become(command);
  await runAsChild(command);
}

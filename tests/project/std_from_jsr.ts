/**
 * Type-checks the whole project with deno std from JSR instead of from its copy on npm. The change is
 * one block of the import map and the removal of `types/std.d.ts`; this shows that it is no more.
 *
 * By itself (`deno run -A tests/project/std_from_jsr.ts`) it asks JSR, types and all. The test beside
 * it has no way to JSR and gives a registry of its own, which takes types from `types/std.d.ts`.
 */

import { fromFileUrl, join } from "@std/path";
import { z } from "zod";

/** The repository. */
export const ROOT = fromFileUrl(new URL("../../", import.meta.url));

/** What is checked. */
const PARTS = ["actors", "server", "client", "bench", "tests", "docs"] as const;

const Config = z.looseObject({
  imports: z.record(z.string(), z.string()),
  compilerOptions: z.looseObject({ types: z.array(z.string()) }),
});

/** deno.json with std from JSR: what the edit would leave of what a type check reads. */
async function flipped(): Promise<object> {
  const config = Config.parse(JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json"))));
  const { imports, compilerOptions: { types, ...compilerOptions } } = config;
  const others = Object.entries(imports)
    .filter(([name]) => !name.startsWith("@std/"));
  const packages = new Set(
    Object.keys(imports).flatMap((name) => /^@std\/[^/]+/.exec(name)?.[0] ?? []),
  );
  const fromJsr = [...packages].map((name) => [name, `jsr:${name}@1`]);
  const rest = types.filter((path) => path !== "./types/std.d.ts");
  return {
    imports: Object.fromEntries([...others, ...fromJsr]),
    compilerOptions: rest.length === 0 ? compilerOptions : { ...compilerOptions, types: rest },
  };
}

/**
 * Checks every program and test.
 *
 * @param registry URL of the registry; JSR's own when absent.
 * @returns What Deno prints, and whether all fits.
 */
export async function checkFromJsr(registry?: string): Promise<{ ok: boolean; output: string }> {
  const dir = await Deno.makeTempDir({ prefix: "chat-std-" });
  try {
    // A copy: a configuration holds for the files below it.
    for (const part of PARTS) await copy(join(ROOT, part), join(dir, part));
    await Deno.writeTextFile(join(dir, "deno.json"), JSON.stringify(await flipped()));
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["check", "--no-lock", ...PARTS],
      cwd: dir,
      env: { NO_COLOR: "1", ...(registry !== undefined && { JSR_URL: registry }) },
      stdout: "null",
      stderr: "piped",
    }).output();
    return { ok: success, output: new TextDecoder().decode(stderr) };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function copy(from: string, to: string): Promise<void> {
  await Deno.mkdir(to);
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    const [source, target] = [join(from, name), join(to, name)];
    await (isDirectory ? copy(source, target) : Deno.copyFile(source, target));
  }
}

if (import.meta.main) {
  const { ok, output } = await checkFromJsr();
  console.log(output);
  Deno.exit(ok ? 0 : 1);
}

/** That deno std can come from JSR with nothing changed but one block of the import map. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { checkFromJsr, ROOT } from "./std_from_jsr.ts";

/** Modules of std that the project imports: `@std/async/deadline` ⇒ what it declares. */
async function declared(): Promise<Map<string, string>> {
  const text = await Deno.readTextFile(join(ROOT, "types/std.d.ts"));
  const modules = new Map<string, string>();
  for (const [, name = "", body = ""] of text.matchAll(/^declare module "(.+?)" \{\n(.*?)^\}/gms)) {
    modules.set(name, body);
  }
  return modules;
}

/** The files of a registry as JSR is one: the modules declared, each with its code from npm. */
async function registryFiles(
  modules: ReadonlyMap<string, string>,
  code: Readonly<Record<string, string>>,
): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const packages = new Map<string, { exports: Record<string, string>; manifest: object }>();
  for (const [name, declarations] of modules) {
    const [, pkg = "", path] = /^(@std\/[^/]+)(?:\/(.+))?$/.exec(name) ?? [];
    const file = `/${path ?? "mod"}`;
    const sources = {
      [`${file}.js`]: `/* @ts-self-types=".${file}.d.ts" */\nexport * from ${
        JSON.stringify(code[name])
      };\n`,
      [`${file}.d.ts`]: declarations,
    };
    const { exports, manifest } = packages.get(pkg) ?? { exports: {}, manifest: {} };
    exports[path === undefined ? "." : `./${path}`] = `.${file}.js`;
    for (const [at, text] of Object.entries(sources)) {
      files.set(`/${pkg}/1.0.0${at}`, text);
      Object.assign(manifest, { [at]: await entryOf(text) });
    }
    packages.set(pkg, { exports, manifest });
  }
  for (const [pkg, meta] of packages) {
    const [scope = "", name = ""] = pkg.slice(1).split("/");
    const versions = { scope, name, latest: "1.0.0", versions: { "1.0.0": {} } };
    files.set(`/${pkg}/meta.json`, JSON.stringify(versions));
    files.set(`/${pkg}/1.0.0_meta.json`, JSON.stringify(meta));
  }
  return files;
}

async function entryOf(text: string): Promise<{ size: number; checksum: string }> {
  const bytes = new TextEncoder().encode(text);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return { size: bytes.length, checksum: `sha256-${hash.toHex()}` };
}

/** Checks with such a registry. */
async function checkWith(
  modules: ReadonlyMap<string, string>,
): Promise<{ ok: boolean; output: string; asked: ReadonlySet<string> }> {
  const { imports } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  const files = await registryFiles(modules, imports);
  const asked = new Set<string>();
  const options = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
  await using server = Deno.serve(options, (request) => {
    const { pathname } = new URL(request.url);
    asked.add(pathname);
    const text = files.get(pathname);
    return new Response(text ?? "", { status: text === undefined ? 404 : 200 });
  });
  return { ...await checkFromJsr(`http://127.0.0.1:${server.addr.port}/`), asked };
}

Deno.test("std from JSR is one block of the import map: the rest type-checks as it is", async () => {
  const { ok, output, asked } = await checkWith(await declared());
  assertEquals(ok, true, output.slice(-4_000));
  assert(asked.has("/@std/assert/1.0.0/mod.d.ts"), "types came from elsewhere");
});

Deno.test("what std's types on JSR lack fails that check", async () => {
  const modules = await declared();
  const path = modules.get("@std/path") ?? "";
  modules.set("@std/path", path.replaceAll(/^.*\bfromFileUrl\b.*$/gm, ""));
  const { ok, output } = await checkWith(modules);
  assertEquals(ok, false);
  assertStringIncludes(output, "fromFileUrl");
});

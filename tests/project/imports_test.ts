/**
 * Imports point down only: wire ← actors ← adapters ← server; the client knows the wire alone.
 * Drivers are named by adapters, adapters by thread entries and by the server's composition roots.
 */

import { assert, assertEquals } from "@std/assert";
import { dirname, join } from "@std/path";
import { ROOT } from "../support/server_harness.ts";

/** A part of the tree, and what its modules may import. */
interface Layer {
  readonly name: string;
  readonly has: (path: string) => boolean;
  /** Own modules, as paths from the root. */
  readonly mayUse: (path: string) => boolean;
  /** Everything else: keys of the import map, `node:` modules. */
  readonly packages: readonly RegExp[];
}

const inWire = (path: string) => path.startsWith("server/wire/");
const isAdapter = (path: string) => path.startsWith("actors/adapters/");
const inActors = (path: string) => path.startsWith("actors/") && !isAdapter(path);
const isThreadEntry = (path: string) => /^actors\/\w+_worker\.ts$/.test(path);
/** The only modules of the server that name adapters. */
const ROOTS = new Set(["server/main.ts", "server/threads/inline.ts", "server/migrate_store.ts"]);

const LAYERS: readonly Layer[] = [
  { name: "wire", has: inWire, mayUse: inWire, packages: [/^zod$/] },
  {
    name: "adapter",
    has: isAdapter,
    mayUse: (path) =>
      inWire(path) || isAdapter(path) || path === "actors/ports.ts" ||
      path === "actors/observe/tracing.ts",
    packages: [
      /^node:(sqlite|buffer|os)$/,
      /^mysql2/,
      /^ioredis$/,
      /^hash-wasm$/,
      /^@std\//,
      /^@opentelemetry\//,
    ],
  },
  {
    name: "thread entry",
    has: isThreadEntry,
    mayUse: (path) => inWire(path) || path.startsWith("actors/"),
    packages: [],
  },
  {
    name: "actor",
    has: inActors,
    mayUse: (path) => inWire(path) || (inActors(path) && !isThreadEntry(path)),
    packages: [/^zod$/, /^node:(crypto|buffer)$/],
  },
  {
    name: "server",
    has: (path) => path.startsWith("server/"),
    mayUse: (path) => path.startsWith("server/") || inActors(path),
    packages: [/^zod$/, /^@std\//, /^node:/],
  },
  {
    name: "client",
    has: (path) => path.startsWith("client/"),
    mayUse: (path) => inWire(path) || path.startsWith("client/"),
    packages: [
      /^zod$/,
      /^@std\//,
      /^string-width$/,
      /^node:(readline|stream|string_decoder|buffer)/,
    ],
  },
];

function* modules(folder: string): Generator<string> {
  for (const entry of Deno.readDirSync(`${ROOT}${folder}`)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) yield* modules(path);
    else if (path.endsWith(".ts")) yield path;
  }
}

/** What a module imports, `import()` and worker modules included. */
function importsOf(path: string): { specifier: string; typeOnly: boolean }[] {
  const text = Deno.readTextFileSync(`${ROOT}${path}`);
  const statements = text.matchAll(
    /^(import|export)\s+(type\s)?[^;]*?from\s+"([^"]+)"|^import\s+"([^"]+)"/gm,
  );
  const dynamic = text.matchAll(
    /\bimport\(\s*"([^"]+)"|new URL\("([^"]+\.ts)", import\.meta\.url\)/g,
  );
  return [
    ...Array.from(statements, (m) => ({
      specifier: m[3] ?? m[4] ?? "",
      typeOnly: m[2] !== undefined,
    })),
    ...Array.from(dynamic, (m) => ({ specifier: m[1] ?? m[2] ?? "", typeOnly: false })),
  ];
}

/** A specifier as a path from the root; undefined for a package. */
function resolve(from: string, specifier: string): string | undefined {
  if (specifier.startsWith("@chat/wire/")) return specifier.replace("@chat/wire/", "server/wire/");
  return specifier.startsWith(".") ? join(dirname(from), specifier) : undefined;
}

const SOURCES = ["server", "actors", "client"].flatMap((folder) => [...modules(folder)]);

Deno.test("modules import downwards only", () => {
  const wrong: string[] = [];
  let seen = 0;
  for (const path of SOURCES) {
    const layer = LAYERS.find(({ has }) => has(path));
    assert(layer !== undefined, `${path} is in no layer`);
    for (const { specifier, typeOnly } of importsOf(path)) {
      seen++;
      const target = resolve(path, specifier);
      const allowed = target === undefined
        ? layer.packages.some((name) => name.test(specifier))
        : layer.mayUse(target) || (ROOTS.has(path) && isAdapter(target)) ||
          // A thread's module is started by the server, and the type of its options is shared.
          (layer.name === "server" && isThreadEntry(target)) ||
          (typeOnly && layer.name === "adapter" && inActors(target));
      if (!allowed) wrong.push(`${path} (${layer.name}) imports ${specifier}`);
    }
  }
  assertEquals(wrong, []);
  assert(seen > 300, `only ${seen} imports were found`);
});

Deno.test("actors know no sockets, files or processes", () => {
  const wrong = SOURCES.filter(inActors).filter((path) =>
    /\bDeno\.(?!unrefTimer\b)\w|\bfetch\(|node:(net|fs|child_process)/.test(
      Deno.readTextFileSync(`${ROOT}${path}`),
    )
  );
  assertEquals(wrong, []);
});

Deno.test("third-party code comes through the import map alone, at exact versions", () => {
  const map = JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`)).imports;
  for (const [name, target] of Object.entries<string>(map)) {
    assert(
      target.startsWith("./") || /^(npm|jsr):(@[\w-]+\/)?[\w-]+@\d+\.\d+\.\d+(\/|$)/.test(target),
      `${name} is ${target}`,
    );
  }
  const all = [...SOURCES, ...modules("tests"), ...modules("bench")];
  const direct = all.filter((path) =>
    importsOf(path).some(({ specifier }) => /^(npm|jsr|https?):/.test(specifier))
  );
  assertEquals(direct, []);
});

/**
 * Imports point one way. {@linkcode PARTS} lists every part of the tree with the parts below it; a
 * module imports from its own part and from those alone, types included, so no two parts can import
 * each other. Drivers are named by adapters, adapters by thread entries and the places that compose
 * a node.
 */

import { assert, assertEquals } from "@std/assert";
import { dirname, join } from "@std/path";
import { ROOT } from "../support/server_harness.ts";

/** What a part may import. */
interface Part {
  /** Parts below this one, by name. */
  readonly uses: readonly string[];
  /** Everything else: keys of the import map, `node:` modules. */
  readonly packages: readonly RegExp[];
}

const NO_PACKAGES: readonly RegExp[] = [];
const ACTOR_PACKAGES = [/^zod$/, /^node:(crypto|buffer)$/];
const SERVER_PACKAGES = [/^zod$/, /^@std\//, /^node:/];
const CLIENT_PACKAGES = [/^zod$/, /^@std\//];
const TERMINAL_PACKAGES = [
  ...CLIENT_PACKAGES,
  /^string-width$/,
  /^node:(readline|stream|string_decoder|buffer)/,
];

const ACTOR_BASE = ["server/wire", "actors"];
const BELOW_SESSIONS = [
  ...ACTOR_BASE,
  "actors/observe",
  "actors/runtime",
  "actors/store",
  "actors/routing",
  "actors/accounts",
];
const BELOW_ENTRIES = [...BELOW_SESSIONS, "actors/sessions", "actors/handlers", "actors/worker"];
const ADAPTERS = [
  "actors/adapters",
  "actors/adapters/sqlite",
  "actors/adapters/mysql",
  "actors/adapters/redis",
  "actors/adapters/either",
];
const BELOW_SOCKETS = [
  "server/wire",
  "server/settings",
  "server/observe",
  "actors",
  "actors/observe",
  "actors/runtime",
  "actors/store",
  "actors/routing",
  "actors/accounts",
];
const BELOW_NODE = [
  ...BELOW_SOCKETS,
  "server/sockets",
  "server/threads",
  "actors/sessions",
  "actors/handlers",
  "actors/worker",
  "actors/entries",
];
const BELOW_CHAT = ["server/wire", "client/library"];
const BELOW_PROGRAMS = [
  ...BELOW_CHAT,
  "client/files",
  "client/transport",
  "client/chat",
  "client/chat/commands",
];
const BELOW_TERMINAL = [...BELOW_PROGRAMS, "client/profile", "client/settings"];

const DRIVER_PACKAGES = [/^node:(sqlite|buffer|os)$/, /^@std\//, /^@opentelemetry\//];

/** A folder, or a few files of one, ⇒ what it may import. Lowest first. */
const PARTS: Readonly<Record<string, Part>> = {
  "server/wire": { uses: [], packages: [/^zod$/] },

  "actors": { uses: ["server/wire"], packages: ACTOR_PACKAGES },
  "actors/observe": { uses: ACTOR_BASE, packages: ACTOR_PACKAGES },
  "actors/runtime": { uses: [...ACTOR_BASE, "actors/observe"], packages: ACTOR_PACKAGES },
  "actors/store": {
    uses: [...ACTOR_BASE, "actors/observe", "actors/runtime"],
    packages: ACTOR_PACKAGES,
  },
  "actors/routing": {
    uses: [...ACTOR_BASE, "actors/observe", "actors/runtime"],
    packages: ACTOR_PACKAGES,
  },
  "actors/accounts": {
    uses: [...ACTOR_BASE, "actors/observe", "actors/runtime"],
    packages: ACTOR_PACKAGES,
  },
  "actors/sessions": { uses: BELOW_SESSIONS, packages: ACTOR_PACKAGES },
  "actors/handlers": { uses: [...BELOW_SESSIONS, "actors/sessions"], packages: ACTOR_PACKAGES },
  "actors/worker": {
    uses: [...BELOW_SESSIONS, "actors/sessions", "actors/handlers"],
    packages: ACTOR_PACKAGES,
  },
  "actors/adapters/sqlite": {
    uses: [...ACTOR_BASE, "actors/observe", "actors/adapters"],
    packages: DRIVER_PACKAGES,
  },
  "actors/adapters/mysql": {
    uses: [...ACTOR_BASE, "actors/observe", "actors/adapters"],
    packages: [...DRIVER_PACKAGES, /^mysql2/],
  },
  "actors/adapters/redis": {
    uses: [...ACTOR_BASE, "actors/observe", "actors/adapters"],
    packages: [...DRIVER_PACKAGES, /^ioredis$/],
  },
  "actors/adapters": {
    uses: [...ACTOR_BASE, "actors/observe"],
    packages: [...DRIVER_PACKAGES, /^node:crypto$/, /^unhomoglyph$/],
  },
  "actors/adapters/either": {
    uses: [
      ...ACTOR_BASE,
      "actors/store",
      "actors/adapters",
      "actors/adapters/sqlite",
      "actors/adapters/mysql",
    ],
    packages: [...DRIVER_PACKAGES, /^mysql2/],
  },
  "actors/entries": { uses: [...BELOW_ENTRIES, ...ADAPTERS], packages: NO_PACKAGES },

  "server/settings": { uses: ["server/wire"], packages: SERVER_PACKAGES },
  "server/observe": {
    uses: ["server/wire", "server/settings", "actors", "actors/observe", "actors/runtime"],
    packages: SERVER_PACKAGES,
  },
  "server/sockets": { uses: BELOW_SOCKETS, packages: SERVER_PACKAGES },
  "server/threads": {
    uses: [...BELOW_SOCKETS, "server/sockets", ...BELOW_ENTRIES, "actors/entries", ...ADAPTERS],
    packages: SERVER_PACKAGES,
  },
  "server/node": { uses: [...BELOW_NODE, "server/admin"], packages: SERVER_PACKAGES },
  "server/admin": { uses: BELOW_NODE, packages: SERVER_PACKAGES },
  "server/cluster": { uses: ["server/wire", "server/settings"], packages: SERVER_PACKAGES },
  "server": {
    uses: [...BELOW_NODE, "server/node", "server/admin", "server/cluster", ...ADAPTERS],
    packages: SERVER_PACKAGES,
  },

  "client/library": { uses: ["server/wire"], packages: CLIENT_PACKAGES },
  "client/files": { uses: [], packages: NO_PACKAGES },
  "client/transport": { uses: [...BELOW_CHAT, "client/files"], packages: CLIENT_PACKAGES },
  "client/chat": { uses: BELOW_CHAT, packages: CLIENT_PACKAGES },
  "client/chat/commands": { uses: [...BELOW_CHAT, "client/chat"], packages: CLIENT_PACKAGES },
  "client/settings": { uses: ["server/wire"], packages: CLIENT_PACKAGES },
  "client/profile": {
    uses: [...BELOW_PROGRAMS, "client/settings"],
    packages: CLIENT_PACKAGES,
  },
  "client/terminal/text": { uses: ["client/chat"], packages: TERMINAL_PACKAGES },
  "client/terminal/input": {
    uses: [...BELOW_TERMINAL, "client/terminal/text"],
    packages: TERMINAL_PACKAGES,
  },
  "client/terminal/screen": {
    uses: [...BELOW_TERMINAL, "client/terminal/text", "client/terminal/input"],
    packages: TERMINAL_PACKAGES,
  },
  "client/terminal": {
    uses: [
      ...BELOW_TERMINAL,
      "client/terminal/text",
      "client/terminal/screen",
      "client/terminal/input",
    ],
    packages: TERMINAL_PACKAGES,
  },
  "client/script": { uses: BELOW_TERMINAL, packages: CLIENT_PACKAGES },
  "client": {
    uses: [...BELOW_TERMINAL, "client/terminal/input", "client/terminal", "client/script"],
    packages: CLIENT_PACKAGES,
  },
  "client/examples": { uses: ["client"], packages: CLIENT_PACKAGES },
};

/** Modules that are a part of their own beside others of their folder. */
const SINGLE_FILES: readonly (readonly [pattern: RegExp, part: string])[] = [
  [/^actors\/\w+_worker\.ts$/, "actors/entries"],
  [/^actors\/adapters\/(open|copy)_store\.ts$/, "actors/adapters/either"],
  [/^server\/node(_meter)?\.ts$/, "server/node"],
  [/^client\/terminal\/text\.ts$/, "client/terminal/text"],
  [/^client\/flags\.ts$/, "client/settings"],
];

/** The part a module belongs to. */
function partOf(path: string): string {
  return SINGLE_FILES.find(([pattern]) => pattern.test(path))?.[1] ?? dirname(path);
}

/** Why `path` may not import `specifier`; undefined when it may. */
function objection(path: string, specifier: string): string | undefined {
  const part = partOf(path);
  const rules = PARTS[part];
  if (rules === undefined) return `${path}: ${part} is no part of the tree`;
  const target = resolve(path, specifier);
  if (target === undefined) {
    return rules.packages.some((name) => name.test(specifier))
      ? undefined
      : `${path} imports the package ${specifier}`;
  }
  const below = partOf(target);
  return below === part || rules.uses.includes(below) ? undefined : `${path} imports ${target}`;
}

function* modules(folder: string): Generator<string> {
  for (const entry of Deno.readDirSync(`${ROOT}${folder}`)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) yield* modules(path);
    else if (path.endsWith(".ts")) yield path;
  }
}

/** What a module imports, types, `import()` and worker modules included. */
function importsOf(path: string): string[] {
  const text = Deno.readTextFileSync(`${ROOT}${path}`);
  const statements = text.matchAll(
    /^(?:import|export)\s[^;]*?from\s+"([^"]+)"|^import\s+"([^"]+)"/gm,
  );
  const dynamic = text.matchAll(
    /\bimport\(\s*"([^"]+)"|new URL\("([^"]+\.ts)", import\.meta\.url\)/g,
  );
  return [...statements, ...dynamic].map((m) => m[1] ?? m[2] ?? "");
}

/** A specifier as a path from the root; undefined for a package. */
function resolve(from: string, specifier: string): string | undefined {
  if (specifier.startsWith("@chat/wire/")) return specifier.replace("@chat/wire/", "server/wire/");
  return specifier.startsWith(".") ? join(dirname(from), specifier) : undefined;
}

const SOURCES = ["server", "actors", "client"].flatMap((folder) => [...modules(folder)]);

Deno.test("modules import downwards only", () => {
  const edges = SOURCES.flatMap((path) =>
    importsOf(path).map((specifier) => [path, specifier] as const)
  );

  assertEquals(edges.map(([path, specifier]) => objection(path, specifier)).filter(Boolean), []);
  assert(edges.length > 300, `only ${edges.length} imports were found`);
});

Deno.test("no two parts may import each other, and every part that is named is there", () => {
  const names = new Set(SOURCES.map(partOf));
  const wrong: string[] = [];
  for (const [part, { uses }] of Object.entries(PARTS)) {
    if (!names.has(part)) wrong.push(`${part} has no module`);
    for (const below of uses) {
      if (PARTS[below] === undefined) wrong.push(`${part} uses ${below}, which is no part`);
      if (PARTS[below]?.uses.includes(part)) wrong.push(`${part} and ${below} use each other`);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("an import against the order is found out", () => {
  const wrong: readonly (readonly [path: string, specifier: string])[] = [
    ["server/wire/messages.ts", "../settings/config.ts"],
    ["actors/store/store.ts", "../sessions/session.ts"],
    ["actors/sessions/session.ts", "../worker/session_host.ts"],
    ["actors/worker/session_host.ts", "../adapters/sqlite/store.ts"],
    ["actors/worker/session_host.ts", "ioredis"],
    ["actors/adapters/sqlite/store.ts", "mysql2/promise"],
    ["server/sockets/gateway.ts", "../threads/session_pool.ts"],
    ["client/library/client.ts", "../transport/socket.ts"],
    ["client/library/client.ts", "../../server/settings/config.ts"],
    ["client/script/script.ts", "../terminal/app.ts"],
    ["client/attic/old.ts", "@chat/wire/limits.ts"],
  ];
  for (const [path, specifier] of wrong) {
    assert(objection(path, specifier) !== undefined, `${path} imports ${specifier}`);
  }
});

Deno.test("actors know no sockets, files or processes", () => {
  const wrong = SOURCES
    .filter((path) => path.startsWith("actors/") && !path.startsWith("actors/adapters/"))
    .filter((path) =>
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
    importsOf(path).some((specifier) => /^(npm|jsr|https?):/.test(specifier))
  );
  assertEquals(direct, []);
});

/** Starts load generator processes and reads what they print. */

import { fromFileUrl } from "@std/path";
import { z } from "zod";
import { Program } from "./children.ts";

const MAIN = fromFileUrl(new URL("../load/main.ts", import.meta.url));

/** The line every generator ends with; what is in it depends on the work. */
const Result = z.looseObject({ event: z.literal("result"), work: z.string() });
export type Result = z.infer<typeof Result>;

/** A generator at work. */
export interface Generator {
  /** Resolves when set-up is over; with a `gate` it now waits for that file. */
  readonly ready: Promise<void>;
  /** Resolves when the measured time begins. */
  readonly measuring: Promise<void>;
  /** What it found; rejects when it failed or ran longer than allowed. */
  readonly result: Promise<Result>;
}

/** Flags of the generator by name; see bench/load/settings.ts. */
export type Flags = Readonly<Record<string, string | number>>;

/** @param limitMs For everything, set-up included; then the generator is killed. */
export function startGenerator(work: string, flags: Flags, limitMs: number): Generator {
  const program = new Program(`generator ${work}`, [
    "run",
    "--cached-only",
    "--allow-all",
    MAIN,
    work,
    ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]),
  ]);
  const timer = setTimeout(() => program.kill(), limitMs);
  let result: Result | undefined;
  program.onLine((line) => {
    if (line.startsWith('{"event":"result"')) result = Result.parse(JSON.parse(line));
  });
  // Whoever awaits only the result learns of a failure from it: these may then reject unseen.
  const ready = program.match(/"event":"ready"/, limitMs).then(() => {});
  ready.catch(() => {});
  const measuring = program.match(/"event":"measuring"/, limitMs).then(() => {});
  measuring.catch(() => {});
  return {
    ready,
    measuring,
    result: program.ended.then((exit) => {
      clearTimeout(timer);
      if (result !== undefined && exit.code === 0) return result;
      throw new Error(`${program.name} ended with status ${exit.code}:\n${program.tail()}`);
    }),
  };
}

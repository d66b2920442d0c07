/** Starts load generator processes and reads what they print. */

import { fromFileUrl } from "@std/path";
import { z } from "zod";
import { Child } from "./children.ts";

const MAIN = fromFileUrl(new URL("../load/main.ts", import.meta.url));

/** The line every generator ends with; what is in it depends on the work. */
const Result = z.looseObject({ event: z.literal("result"), work: z.string() });
export type Result = z.infer<typeof Result>;

/** A generator at work. */
export interface Generator {
  /** Resolves when set-up is over and the measured time begins. */
  readonly measuring: Promise<void>;
  /** What it found; rejects when it failed or ran longer than allowed. */
  readonly result: Promise<Result>;
}

/** Flags of the generator by name; see bench/load/settings.ts. */
export type Flags = Readonly<Record<string, string | number>>;

/** @param limitMs For everything, set-up included; then the generator is killed. */
export function startGenerator(work: string, flags: Flags, limitMs: number): Generator {
  const child = new Child(`generator ${work}`, Deno.execPath(), [
    "run",
    "--cached-only",
    "--allow-all",
    MAIN,
    work,
    ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]),
  ]);
  const timer = setTimeout(() => child.signal("SIGKILL"), limitMs);
  let result: Result | undefined;
  child.onLine((line) => {
    if (line.startsWith('{"event":"result"')) result = Result.parse(JSON.parse(line));
  });
  const measuring = child.match(/"event":"measuring"/, limitMs).then(() => {});
  measuring.catch(() => {}); // whoever awaits only the result learns the same from it
  return {
    measuring,
    result: child.ended.then((status) => {
      clearTimeout(timer);
      if (result !== undefined && status.success) return result;
      throw new Error(`${child.name} ended with status ${status.code}:\n${child.tail()}`);
    }),
  };
}

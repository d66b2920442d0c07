/** `deno task admin` as a process, with the task's permissions. */

import { cleanEnv, ROOT, taskCommand } from "./server_harness.ts";

/** How it ended and what it said. */
export interface AdminOutput {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs one command to its end. */
export async function admin(args: readonly string[], stdin = ""): Promise<AdminOutput> {
  const { command, args: own } = taskCommand("admin");
  const child = new Deno.Command(command, {
    args: [...own, ...args],
    cwd: ROOT,
    env: cleanEnv(),
    clearEnv: true,
    ...{ stdin: "piped", stdout: "piped", stderr: "piped" },
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(stdin));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
}

/**
 * Lowers the priority of the calling thread. Only Linux gives each thread a priority of its own.
 */

import { getPriority, setPriority } from "node:os";

const THIS_THREAD = 0;
/**
 * Nice value of a thread that must not delay others: it has a tenth of a normal thread's weight, and
 * a thread that wakes takes its place at once. Under full load it still gets some of a core.
 */
const BEHIND_OTHERS = 10;

/**
 * Lets every normal thread run before the calling one. Does nothing where that would slow down the
 * whole process, as outside Linux.
 *
 * @throws {Deno.errors.NotCapable} Without `--allow-sys=getPriority,setPriority`.
 */
export function runBehindOthers(): void {
  if (Deno.build.os !== "linux" || getPriority(THIS_THREAD) >= BEHIND_OTHERS) return;
  setPriority(THIS_THREAD, BEHIND_OTHERS);
}

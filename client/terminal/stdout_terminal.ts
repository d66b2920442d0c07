/**
 * The terminal on stdout, or what stands in its place: bytes out, the window's size.
 */

import type { Terminal } from "./screen/screen.ts";

/** @param gone Called when nobody reads any more (`| head`); it ends the program. */
export function stdoutTerminal(gone: () => never): Terminal {
  const encoder = new TextEncoder();
  const ended = (error: unknown): never => {
    if (error instanceof Deno.errors.BrokenPipe) return gone();
    throw error;
  };
  return {
    async write(text) {
      try {
        let rest = encoder.encode(text);
        while (rest.length > 0) rest = rest.subarray(await Deno.stdout.write(rest));
      } catch (error) {
        ended(error);
      }
    },
    writeNow(text) {
      try {
        let rest = encoder.encode(text);
        while (rest.length > 0) rest = rest.subarray(Deno.stdout.writeSync(rest));
      } catch (error) {
        ended(error);
      }
    },
    size() {
      try {
        const { columns, rows } = Deno.consoleSize();
        return { columns: columns || 80, rows: rows || 24 };
      } catch {
        return { columns: 80, rows: 24 }; // the window has gone; the end is near
      }
    },
  };
}

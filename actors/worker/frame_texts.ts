/** The texts of a turn's frames, out of the one block of bytes that they came in. */

import { IN_COLUMNS, type InLane } from "../runtime/lane.ts";

const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * Calls `take` for each frame in order. A frame that is not UTF-8 has the text "", which is answered
 * with MALFORMED.
 */
export function eachFrame(
  { frames, bytes }: InLane,
  take: (conn: number, seq: number, text: string) => void,
): void {
  if (frames.length === 0) return;
  // Mostly the whole block is ASCII: one decode then serves all frames, as bytes are characters.
  const all = decode(bytes);
  const ascii = all !== undefined && all.length === bytes.length ? all : undefined;
  for (let i = 0; i < frames.length; i += IN_COLUMNS) {
    const start = frames[i + 2] ?? 0;
    const end = start + (frames[i + 3] ?? 0);
    const text = ascii !== undefined
      ? ascii.slice(start, end)
      : decode(bytes.subarray(start, end)) ?? "";
    take(frames[i] ?? 0, frames[i + 1] ?? 0, text);
  }
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

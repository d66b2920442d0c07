/** A few large read buffers, lent to connections that have much to say. */

/** Size of one buffer, bytes: the largest frame. */
const BUFFER_BYTES = 64 * 1024;
/** Most buffers lent at a time, 4 MiB in all; beyond it a connection goes on with its small one. */
const MAX_LENT = 64;

const free: Uint8Array<ArrayBuffer>[] = [];
let lent = 0;

/** A buffer, or undefined when all are lent. */
export function borrowBuffer(): Uint8Array<ArrayBuffer> | undefined {
  if (lent >= MAX_LENT) return undefined;
  lent++;
  return free.pop() ?? new Uint8Array(BUFFER_BYTES);
}

/** Gives a borrowed buffer back. */
export function returnBuffer(buffer: Uint8Array<ArrayBuffer>): void {
  lent--;
  free.push(buffer);
}

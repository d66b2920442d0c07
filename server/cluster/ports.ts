/**
 * Free TCP ports on loopback for services that must be told their port before they start.
 *
 * A port found free can be taken before it is used: callers retry. Ports come from below the
 * kernel's range for outgoing connections (32768 up on Linux): there, a connection of anybody
 * could take the port of a service that is down between two runs, or, worse, a client that
 * connects to the port of a dead service could be connected to itself.
 */

const LOWEST = 10_000;
const HIGHEST = 32_000;
const ATTEMPTS = 200;

/**
 * Ports that were free a moment ago.
 * @param count How many, in a row: `first`, `first + 1`, …
 * @returns The first of them.
 */
export function freePort(count = 1): number {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const first = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST - count));
    if (Array.from({ length: count }, (_, i) => first + i).every(isFree)) return first;
  }
  throw new Error(`no ${count} free TCP port(s) between ${LOWEST} and ${HIGHEST} on 127.0.0.1`);
}

/** Whether nobody listens on the port of 127.0.0.1 now. */
export function isFree(port: number): boolean {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return false;
    throw error;
  }
}

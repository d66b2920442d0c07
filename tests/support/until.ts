/** Waiting for a state that nobody announces: looked at again and again, with a deadline. */

const POLL_MS = 50;

/** Resolves once `reached` says so. */
export async function until(reached: () => Promise<boolean> | boolean, ms = 15_000): Promise<void> {
  const end = performance.now() + ms;
  while (!(await reached())) {
    if (performance.now() > end) throw new Error(`not reached within ${ms} ms: ${reached}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

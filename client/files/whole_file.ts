/**
 * Text files that are read if they are there and replaced whole. It knows nothing of what is in them,
 * and promises nothing for a power cut: what must outlive one is in the journal, which syncs.
 *
 * Invariant: a reader of a replaced file sees the old text or the new one, whole.
 */

/** The text of a file; "" when there is none. */
export async function readIfThere(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

/** Writes a file of mode 0600 whole, or not at all. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const fresh = `${path}.new`;
  await Deno.writeTextFile(fresh, text, { mode: 0o600 });
  await Deno.rename(fresh, path);
}

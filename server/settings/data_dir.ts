/**
 * The data directory: made if there is none, and held by one node at a time. Two nodes on one
 * embedded database would each deliver only to their own users.
 */

import { join, resolve } from "@std/path";

const LOCK = "node.lock";
const PREFIX = "admin-";
const SUFFIX = ".sock";

/**
 * Takes the directory until `dispose`, or until this process ends in whatever way.
 * @throws {Error} One sentence with the remedy.
 */
export async function takeDataDir(path: string): Promise<Disposable> {
  let file: Deno.FsFile;
  try {
    // Its database holds password hashes and the key of the resume tokens.
    await Deno.mkdir(path, { recursive: true, mode: 0o700 });
    file = await Deno.open(`${path}/${LOCK}`, { create: true, write: true, mode: 0o600 });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`--data ${path} cannot be used as a directory: ${why}`, { cause });
  }
  if (file.tryLockSync(true)) {
    return {
      [Symbol.dispose]() {
        // Closing alone leaves it to a child process that is just being started, until that has begun.
        file.unlockSync();
        file.close();
      },
    };
  }
  file.close();
  throw new Error(
    `--data ${path} is in use by another node: stop that one, or give this one a directory of its own`,
  );
}

/** The admin socket of the node that was given this chat port. */
export function socketPath(data: string, port: number | string): string {
  return join(resolve(data), `${PREFIX}${port}${SUFFIX}`);
}

/** Whether a file of a data directory is such a socket. */
export function isSocketName(name: string): boolean {
  return name.startsWith(PREFIX) && name.endsWith(SUFFIX);
}

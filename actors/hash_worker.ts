/**
 * Thread entry: computes hashes for the password worker, which starts it. Knows no actors.
 *
 * The runtime hashes on threads that this one starts, and those have its priority. The password
 * worker lowers its own too late for that: loading its modules has started such threads already.
 * This one begins with a low priority, as a thread has that of the one that started it.
 */

import { type Argon2Input, deriveArgon2 } from "./adapters/argon2.ts";

/** What the password worker sends; answered under its number. */
export interface HashQuestion {
  readonly n: number;
  readonly input: Argon2Input;
}

/** The hash, or why there is none. */
export type HashAnswer =
  | { readonly n: number; readonly hash: Uint8Array<ArrayBuffer> }
  | { readonly n: number; readonly error: unknown };

const scope = self as unknown as {
  postMessage(answer: HashAnswer): void;
  onmessage: ((event: MessageEvent<HashQuestion>) => void) | null;
};

scope.onmessage = ({ data: { n, input } }) => {
  deriveArgon2(input).then(
    (hash) => scope.postMessage({ n, hash }),
    (error) => scope.postMessage({ n, error }),
  );
};

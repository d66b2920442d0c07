/** Argon2id through hash-wasm. Blocks its thread while it hashes: run it in one of its own. */

import { argon2id, argon2Verify } from "hash-wasm";
import type { PasswordPort } from "../ports.ts";

/** Cost of one hash. */
export interface Argon2Cost {
  readonly memoryKib: number;
  readonly passes: number;
}

/** Bytes of salt and of hash: RFC 9106, section 4. */
const SALT_BYTES = 16;
const HASH_BYTES = 32;

/** Hashes carry their own cost, so that a cost can be raised without losing old ones. */
export function argon2(cost: Argon2Cost): PasswordPort {
  const hash = (password: string) =>
    argon2id({
      password,
      salt: crypto.getRandomValues(new Uint8Array(SALT_BYTES)),
      parallelism: 1,
      iterations: cost.passes,
      memorySize: cost.memoryKib,
      hashLength: HASH_BYTES,
      outputType: "encoded",
    });
  // Made now: the first unknown user must not be told by a slower answer.
  const decoy = hash(crypto.randomUUID());
  return {
    hash,
    async verify(password, against) {
      if (against !== undefined) return await argon2Verify({ password, hash: against });
      await argon2Verify({ password, hash: await decoy });
      return false;
    },
    async upgrade(password, present) {
      const wanted = `$m=${cost.memoryKib},t=${cost.passes},p=1$`;
      return present.includes(wanted) ? undefined : await hash(password);
    },
  };
}

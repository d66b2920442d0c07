/**
 * Argon2id password hashes as PHC strings. The work is WebCrypto's, in native code on a thread of the
 * runtime's own, which has the priority of whoever started the calling thread.
 */

import { timingSafeEqual } from "node:crypto";
import { Buffer } from "node:buffer";
import type { PasswordPort } from "../ports.ts";

/** Cost of one hash. */
export interface Argon2Cost {
  readonly memoryKib: number;
  readonly passes: number;
}

/** All that a hash is made of. */
export interface Argon2Input extends Argon2Cost {
  readonly password: string;
  readonly salt: Uint8Array<ArrayBuffer>;
  readonly lanes: number;
  /** Length of the hash. */
  readonly bytes: number;
}

/** Bytes of salt and of hash: RFC 9106, section 4. */
const SALT_BYTES = 16;
const HASH_BYTES = 32;

const PHC = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/;

/** The hash itself, by the calling thread's runtime. */
export async function deriveArgon2(input: Argon2Input): Promise<Uint8Array<ArrayBuffer>> {
  const { password, salt, memoryKib, passes, lanes, bytes } = input;
  const secret = new TextEncoder().encode(password);
  const key = await crypto.subtle.importKey("raw-secret", secret, "Argon2id", false, [
    "deriveBits",
  ]);
  const algorithm = {
    name: "Argon2id",
    nonce: salt,
    memory: memoryKib,
    passes,
    parallelism: lanes,
  };
  return new Uint8Array(await crypto.subtle.deriveBits(algorithm, key, 8 * bytes));
}

/**
 * Hashes carry their own cost, so that a cost can be raised without losing old ones.
 *
 * @param derive Where the work is done. @default in the calling thread's runtime
 */
export function argon2(cost: Argon2Cost, derive = deriveArgon2): PasswordPort {
  const hash = async (password: string) => {
    const salt = crypto.getRandomValues(new Uint8Array(SALT_BYTES));
    const made = await derive({ ...cost, password, salt, lanes: 1, bytes: HASH_BYTES });
    return `$argon2id$v=19$m=${cost.memoryKib},t=${cost.passes},p=1$${base64(salt)}$${
      base64(made)
    }`;
  };
  const isOf = async (password: string, against: string) => {
    const { right, ...input } = parse(against);
    return timingSafeEqual(await derive({ ...input, password }), right);
  };
  // Made now: the first unknown user must not be told by a slower answer.
  const decoy = hash(crypto.randomUUID());
  return {
    hash,
    async verify(password, against) {
      if (against !== undefined) return await isOf(password, against);
      await isOf(password, await decoy);
      return false;
    },
    async upgrade(password, present) {
      const wanted = `$m=${cost.memoryKib},t=${cost.passes},p=1$`;
      return present.includes(wanted) ? undefined : await hash(password);
    },
  };
}

function parse(phc: string): Omit<Argon2Input, "password"> & { readonly right: Uint8Array } {
  const [, memory, passes, lanes, salt, hash] = PHC.exec(phc) ?? [];
  if (salt === undefined || hash === undefined) throw new Error("a hash is no Argon2id PHC string");
  const right = new Uint8Array(Buffer.from(hash, "base64"));
  return {
    memoryKib: Number(memory),
    passes: Number(passes),
    lanes: Number(lanes),
    salt: new Uint8Array(Buffer.from(salt, "base64")),
    bytes: right.length,
    right,
  };
}

/** PHC strings have no padding. */
function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64").replace(/=+$/, "");
}

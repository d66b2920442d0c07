/**
 * Resume tokens: `user.tokenId.expires.signature`. The signature says that a node of this store
 * issued it; whether it still counts is one indexed read of its id (`StorePort.tokenOwner`).
 * No secret but the signing key is needed to check one, and no password hash.
 */

import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { Buffer } from "node:buffer";
import type { UserId } from "../ports.ts";

/** Bytes of a token's id: unguessable on its own. */
const TOKEN_ID_BYTES = 16;
/** Bytes of the signing key, as kept in the store's `secret` table in base64url. */
const KEY_BYTES = 32;

/** What a valid token says. */
export interface TokenClaims {
  readonly user: UserId;
  readonly tokenId: string;
  /** Epoch ms. */
  readonly expires: number;
}

/** A new signing key, for a store that has none. */
export function newTokenKey(): string {
  return randomBytes(KEY_BYTES).toString("base64url");
}

/** Issues and checks tokens with one key. */
export class TokenSigner {
  readonly #key: Uint8Array;

  /** @param key As made by {@linkcode newTokenKey}. */
  constructor(key: string) {
    this.#key = Buffer.from(key, "base64url");
  }

  /** A new token for `user`. */
  issue(user: UserId, expires: number): { token: string; tokenId: string } {
    const tokenId = randomBytes(TOKEN_ID_BYTES).toString("base64url");
    const text = `${user}.${tokenId}.${expires}`;
    return { token: `${text}.${this.#sign(text).toString("base64url")}`, tokenId };
  }

  /** What `token` says; undefined when it is forged, damaged or has expired. */
  check(token: string, now: number): TokenClaims | undefined {
    const end = token.lastIndexOf(".");
    const [user, tokenId, expires, ...rest] = token.slice(0, Math.max(0, end)).split(".");
    if (user === undefined || tokenId === undefined || expires === undefined || rest.length > 0) {
      return undefined;
    }
    const given = Buffer.from(token.slice(end + 1), "base64url");
    const right = this.#sign(token.slice(0, end));
    if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
    const claims = { user: Number(user), tokenId, expires: Number(expires) };
    return claims.expires > now ? claims : undefined;
  }

  #sign(text: string): Buffer {
    return createHmac("sha256", this.#key).update(text).digest();
  }
}

/**
 * The text of a flag → its value, or a sentence that says what the flag takes. Pure; where the text
 * comes from and which value a setting has without one is for others.
 *
 * Invariant: every function throws {@linkcode ConfigError} with the flag's name for a text it cannot
 * take, and never tells a text that may hold a password.
 */

import { NetworkSet } from "./ip_address.ts";

/** A wrong setting: the message names the flag and says what it takes. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** A text that is not blank. */
export function required(text: string, flag: string): string {
  if (text.trim() === "") throw new ConfigError(`--${flag} needs a value`);
  return text;
}

/** A path. Deno takes permissions as lists, in which a comma would end it. */
export function path(text: string, flag: string): string {
  if (text.includes(",")) throw new ConfigError(`--${flag} takes a path without a comma`);
  return required(text, flag);
}

/** A whole number from `min` to `max`. */
export function integer(text: string, flag: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isInteger(value) || value < min || value > max) {
    throw new ConfigError(`--${flag} takes a whole number from ${min} to ${max}, not "${text}"`);
  }
  return value;
}

/** Both files of a key pair, or neither. */
export function keyPair(cert: string, key: string): { cert: string; key: string } | undefined {
  if (cert === "" && key === "") return undefined;
  if (cert === "" || key === "") {
    const [given, missing] = cert === "" ? ["tls-key", "tls-cert"] : ["tls-cert", "tls-key"];
    throw new ConfigError(`--${given} needs --${missing}`);
  }
  return { cert: path(cert, "tls-cert"), key: path(key, "tls-key") };
}

/** One of the options. */
export function choice<T extends string>(text: string, flag: string, options: readonly T[]): T {
  const found = options.find((o) => o === text);
  if (found === undefined) {
    throw new ConfigError(`--${flag} takes one of ${options.join(", ")}, not "${text}"`);
  }
  return found;
}

/** Networks in CIDR notation, separated by commas. */
export function networks(text: string, flag: string): NetworkSet {
  const set = NetworkSet.parse(text);
  if (typeof set === "string") throw new ConfigError(`--${flag}: ${set}`);
  return set;
}

const ENCODE_IT = "what is special in its user and password is percent-encoded (% is %25)";

/** A URL with a host; undefined for "". */
export function url(text: string, flag: string, protocols: readonly string[]): string | undefined {
  if (text === "") return undefined;
  const parsed = URL.canParse(text) ? new URL(text) : undefined;
  if (
    parsed === undefined || !protocols.includes(parsed.protocol) || parsed.hostname === ""
  ) {
    // The value itself may hold a password.
    throw new ConfigError(
      `--${flag} takes a URL with a host that begins with ${protocols.join("// or ")}//; ` +
        ENCODE_IT,
    );
  }
  try {
    decodeURIComponent(parsed.username + parsed.password);
  } catch {
    throw new ConfigError(`--${flag}: ${ENCODE_IT}`);
  }
  return text;
}

/** Argon2 takes at least 8 KiB and one pass; more than the upper bounds would stop all logins. */
const MAX_PASSWORD_KIB = 1_048_576;
const MAX_PASSWORD_PASSES = 100;

/** `KIB,PASSES` of Argon2id. */
export function passwordCost(text: string): { memoryKib: number; passes: number } {
  const [, memory, count] = /^(\d+),(\d+)$/.exec(text) ?? [];
  const memoryKib = Number(memory);
  const passes = Number(count);
  const right = memoryKib >= 8 && memoryKib <= MAX_PASSWORD_KIB &&
    passes >= 1 && passes <= MAX_PASSWORD_PASSES;
  if (!right) {
    throw new ConfigError(
      `--password-cost takes KIB,PASSES: 8 to ${MAX_PASSWORD_KIB} KiB, 1 to ` +
        `${MAX_PASSWORD_PASSES} passes, not "${text}"`,
    );
  }
  return { memoryKib, passes };
}

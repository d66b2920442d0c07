/**
 * Types for the functions used from the npm copy of deno std, which ships none.
 * Without them every import below would silently be `any`. Going to `jsr:@std/*`
 * is one edit of the import map in deno.json and the removal of this file.
 */

declare module "@std/assert" {
  /** Throws AssertionError unless `expr` is truthy. */
  export function assert(expr: unknown, msg?: string): asserts expr;
  /** Throws AssertionError unless the two are deeply equal. */
  export function assertEquals<T>(actual: T, expected: T, msg?: string): void;
  export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void;
  export function assertStrictEquals<T>(actual: unknown, expected: T, msg?: string): void;
  export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T>;
  export function assertMatch(actual: string, expected: RegExp, msg?: string): void;
  export function assertNotMatch(actual: string, expected: RegExp, msg?: string): void;
  export function assertStringIncludes(actual: string, expected: string, msg?: string): void;
  export function assertGreater<T>(actual: T, expected: T, msg?: string): void;
  export function assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void;
  export function assertLess<T>(actual: T, expected: T, msg?: string): void;
  export function assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void;
  export function assertThrows<E extends Error = Error>(
    fn: () => unknown,
    // deno-lint-ignore no-explicit-any -- any constructor, as in the original declaration
    ErrorClass?: new (...args: any[]) => E,
    msgIncludes?: string,
    msg?: string,
  ): E;
  export function assertRejects<E extends Error = Error>(
    fn: () => PromiseLike<unknown>,
    // deno-lint-ignore no-explicit-any -- any constructor, as in the original declaration
    ErrorClass?: new (...args: any[]) => E,
    msgIncludes?: string,
    msg?: string,
  ): Promise<E>;
  export function fail(msg?: string): never;
  export class AssertionError extends Error {}
}

declare module "@std/async/deadline" {
  /** Rejects with a DOMException "TimeoutError" when `p` takes longer than `ms`. */
  export function deadline<T>(
    p: Promise<T>,
    ms: number,
    options?: { signal?: AbortSignal },
  ): Promise<T>;
}

declare module "@std/async/delay" {
  /** Resolves after `ms`; rejects when the signal aborts. */
  export function delay(
    ms: number,
    options?: { signal?: AbortSignal; persistent?: boolean },
  ): Promise<void>;
}

declare module "@std/cli/parse-args" {
  /** What the parser returns: `_` holds the positional arguments. */
  export interface ParsedArgs {
    _: (string | number)[];
    [flag: string]: unknown;
  }
  export function parseArgs(
    args: readonly string[],
    options?: {
      string?: readonly string[];
      boolean?: readonly string[];
      default?: Record<string, unknown>;
      alias?: Record<string, string | readonly string[]>;
      collect?: readonly string[];
      negatable?: readonly string[];
      stopEarly?: boolean;
      unknown?: (arg: string, key?: string, value?: unknown) => unknown;
    },
  ): ParsedArgs;
}

declare module "@std/cli/prompt-secret" {
  /** Asks on the terminal without echo; null when stdin is no terminal. */
  export function promptSecret(
    message?: string,
    options?: { mask?: string; clear?: boolean },
  ): string | null;
}

declare module "@std/fmt/colors" {
  export function setColorEnabled(value: boolean): void;
  export function bold(str: string): string;
  export function dim(str: string): string;
  export function red(str: string): string;
  export function green(str: string): string;
  export function yellow(str: string): string;
  export function blue(str: string): string;
  export function magenta(str: string): string;
  export function cyan(str: string): string;
  export function gray(str: string): string;
}

declare module "@std/path" {
  export function join(path?: string | URL, ...paths: string[]): string;
  export function dirname(path: string | URL): string;
  export function basename(path: string | URL, suffix?: string): string;
  export function resolve(...segments: string[]): string;
  export function fromFileUrl(url: string | URL): string;
  export function isAbsolute(path: string): boolean;
}

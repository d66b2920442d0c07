/**
 * What the program remembers between runs, one directory per profile: who and where, the resume
 * token, open conversations, input history, unsent messages.
 *
 * Invariants: directory 0700, files 0600; a file is replaced whole or not at all; no password is
 * ever written.
 */

import { join } from "@std/path";
import { z } from "zod";
import { parseJson } from "../files/json.ts";
import { replaceFile } from "../files/whole_file.ts";

const Stored = z.object({
  version: z.literal(1),
  host: z.string().min(1),
  port: z.int().min(1).max(65_535),
  tls: z.boolean(),
  ca: z.string().optional(),
  name: z.string().min(1),
  id: z.int().positive(),
  /** Name of this device, random: the token is good on it only. */
  device: z.string().min(1).max(64),
  /** Logs in without a password; absent after a logout. */
  token: z.string().optional(),
  /** Open conversations, `u2` or `g1`, in order. */
  open: z.array(z.string()),
  unread: z.record(z.string(), z.int().nonnegative()),
  /** Names known, so that one can write to them while the server is away. */
  friends: z.array(z.object({ id: z.int().positive(), name: z.string() })),
  groups: z.array(z.object({ id: z.int().positive(), name: z.string(), desc: z.string() })),
  bell: z.boolean(),
  notify: z.boolean(),
  typing: z.boolean(),
});

/** What is remembered of a profile. */
export type ProfileData = z.infer<typeof Stored>;

/** Who and where the command line names, as far as it does. */
export interface Wanted {
  readonly name: string | undefined;
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly tls: boolean;
  readonly ca: string | undefined;
}

/** Whether a profile is of the server that is wanted: its token and its unsent messages go nowhere else. */
export function isOfServer(saved: ProfileData, wanted: Omit<Wanted, "name">): boolean {
  return (wanted.host === undefined || wanted.host === saved.host) &&
    (wanted.port === undefined || wanted.port === saved.port) &&
    (!wanted.tls || saved.tls) && (wanted.ca === undefined || wanted.ca === saved.ca);
}

/** Whether a saved login is used: nothing names somebody or somewhere else. */
export function isFor(saved: ProfileData, wanted: Wanted): boolean {
  return isOfServer(saved, wanted) && (wanted.name === undefined || wanted.name === saved.name);
}

/** A profile's name or place is of no use; the message says why. */
export class ProfileError extends Error {
  override readonly name = "ProfileError";
}

/** Where configuration is kept: `$XDG_CONFIG_HOME`, `~/.config`, or `%APPDATA%` on Windows. */
export function configDirectory(env: (name: string) => string | undefined): string {
  const base = env("XDG_CONFIG_HOME") || undefined;
  if (base !== undefined) return join(base, "chat-client");
  const appData = Deno.build.os === "windows" ? env("APPDATA") : undefined;
  if (appData !== undefined) return join(appData, "chat-client");
  const home = env("HOME") ?? env("USERPROFILE");
  if (home === undefined || home === "") {
    throw new ProfileError("neither HOME nor XDG_CONFIG_HOME says where to keep the profile");
  }
  return join(home, ".config", "chat-client");
}

/** One profile's files. */
export class Profile {
  readonly #directory: string;
  #saving: Promise<void> = Promise.resolve();

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * Opens a profile, making its directory if need be.
   *
   * @param config Directory of all profiles.
   * @throws {ProfileError} The name is not allowed.
   */
  static async open(config: string, name: string): Promise<Profile> {
    if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/.test(name)) {
      throw new ProfileError(
        `--profile ${JSON.stringify(name)}: a profile's name has letters, digits, "-", "_" and "."`,
      );
    }
    const directory = join(config, name);
    await Deno.mkdir(directory, { recursive: true, mode: 0o700 });
    return new Profile(directory);
  }

  /** Unsent messages. */
  get outboxFile(): string {
    return join(this.#directory, "outbox");
  }

  /** Earlier inputs. */
  get historyFile(): string {
    return join(this.#directory, "history");
  }

  get #file(): string {
    return join(this.#directory, "profile.json");
  }

  /**
   * What is remembered; undefined at first. A file that cannot be read is set aside.
   *
   * @returns `damaged`: where the unreadable file is now.
   */
  async load(): Promise<{ data: ProfileData | undefined; damaged: string | undefined }> {
    let text: string;
    try {
      text = await Deno.readTextFile(this.#file);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return { data: undefined, damaged: undefined };
      throw error;
    }
    const parsed = Stored.safeParse(parseJson(text));
    if (parsed.success) return { data: parsed.data, damaged: undefined };
    const damaged = `${this.#file}.damaged`;
    await Deno.rename(this.#file, damaged);
    return { data: undefined, damaged };
  }

  /** Forgets everything but the inputs. */
  async forget(): Promise<void> {
    await this.#saving;
    for (const file of [this.#file, this.outboxFile]) {
      try {
        await Deno.remove(file);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
  }

  /** Remembers. Calls that overlap are done one after the other. */
  save(data: ProfileData): Promise<void> {
    const saving = this.#saving.then(() =>
      replaceFile(this.#file, `${JSON.stringify(data, undefined, 2)}\n`)
    );
    // Whoever asked is told of a failure; the next save tries again.
    this.#saving = saving.catch(() => {});
    return saving;
  }
}

/** What is remembered after a logout: the next run asks for the password. */
export function withoutToken(data: ProfileData): ProfileData {
  const { token: _, ...rest } = data;
  return rest;
}

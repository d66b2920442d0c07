/**
 * What the profile is to remember of this run, and when it is written. The file itself is the
 * profile's.
 *
 * Invariant: a change is on its way to the file within SAVE_DELAY_MS of `soon`; a failure is told, and
 * the next save tries again.
 */

import type { Clock } from "../library/clock.ts";
import { type Profile, type ProfileData, withoutToken } from "./profile.ts";
import type { State } from "../chat/state.ts";

/** What changed is saved this much later, in ms, together with what changes until then. */
const SAVE_DELAY_MS = 1_000;

/** What an {@linkcode Autosave} needs and tells. */
export interface AutosaveOptions {
  readonly clock: Clock;
  readonly profile: Profile;
  /** What the profile holds. */
  readonly saved: ProfileData;
  /** What is known now. */
  state(): State;
  onError(text: string): void;
}

/** The saving of one run. */
export class Autosave {
  readonly #options: AutosaveOptions;
  #data: ProfileData;
  #cancel: (() => void) | undefined;

  constructor(options: AutosaveOptions) {
    this.#options = options;
    this.#data = options.saved;
  }

  /** Who, where and with which options. What else it has is as old as the last run. */
  get data(): ProfileData {
    return this.#data;
  }

  /** Remembers these instead; `soon` or `now` saves it. */
  set(part: Partial<ProfileData>): void {
    this.#data = { ...this.#data, ...part };
  }

  /** The user has logged out. */
  forgetToken(): void {
    this.#data = withoutToken(this.#data);
  }

  /** Saves within SAVE_DELAY_MS. */
  soon(): void {
    this.#cancel ??= this.#options.clock.after(SAVE_DELAY_MS, () => this.now());
  }

  /** Saves at once. */
  now(): void {
    this.#save().catch((error: unknown) => {
      const why = error instanceof Error ? error.message : String(error);
      this.#options.onError(`the profile could not be saved: ${why}`);
    });
  }

  /** Saves for the last time. Rejects when the disk refuses it. */
  async close(): Promise<void> {
    await this.#save();
  }

  #save(): Promise<void> {
    this.#cancel?.();
    this.#cancel = undefined;
    return this.#options.profile.save(remembered(this.#data, this.#options.state()));
  }
}

/** What the profile remembers of a state. */
function remembered(data: ProfileData, { directory, order, conversations }: State): ProfileData {
  const unread: Record<string, number> = {};
  for (const key of order) {
    const count = conversations.get(key)?.unread ?? 0;
    if (count > 0) unread[key] = count;
  }
  const friends = [...directory.people.values()].filter((person) => person.friend)
    .map(({ id, name }) => ({ id, name }));
  const groups = [...directory.rooms.values()].map(({ id, name, desc }) => ({ id, name, desc }));
  return { ...data, open: [...order], unread, friends, groups };
}

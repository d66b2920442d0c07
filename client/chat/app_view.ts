/**
 * The interface between the interactive program and what shows it: the full screen, or plain lines.
 */

import type { Action } from "./reducer.ts";
import type { State } from "./state.ts";

/** Exit statuses of a program that a signal has ended, as shells tell them. */
export const SIGNAL_STATUS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** Why the program ends, or goes back to the login; a terminal that has gone counts as SIGHUP. */
export type Outcome = "quit" | "logout" | "login_needed" | "deleted" | EndSignal;

/** A signal that has ended the program. */
export type EndSignal = keyof typeof SIGNAL_STATUS;

/** Whether a signal was the reason. */
export function isSignal(outcome: Outcome): outcome is EndSignal {
  return Object.hasOwn(SIGNAL_STATUS, outcome);
}

/** What the program keeps of its user from one run to the next, as far as commands know it. */
export interface Kept {
  /** The options of /set. */
  readonly data: Readonly<Record<AppOption, boolean>>;
  set(part: Partial<Record<AppOption, boolean>>): void;
  /** Saves what has changed before long. */
  soon(): void;
  /** The user has logged out. */
  forgetToken(): void;
}

/** What /set switches on and off. */
export const OPTIONS = ["bell", "notify", "typing"] as const;
/** One of {@linkcode OPTIONS}. */
export type AppOption = typeof OPTIONS[number];

/** One way to show the program. */
export interface AppView {
  /** After every action. */
  changed(action: Action, before: State): void;
  /** Something for the user came while they looked elsewhere. */
  alert(title: string, text: string): void;
  /** Asks for something that is not shown while it is typed; undefined when the user gives up. */
  askSecret(question: string): Promise<string | undefined>;
  /** A text that could not be queued goes back to where it was written. */
  giveBack(text: string): void;
  /** The program ends, or a login is needed. */
  end(outcome: Outcome): void;
}

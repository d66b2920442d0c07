/**
 * What shows the program: the full screen, or plain lines. No view itself.
 */

import type { Action } from "../chat/reducer.ts";
import { SIGNAL_STATUS } from "./signals.ts";
import type { State } from "../chat/state.ts";

/** Why the program ends, or goes back to the login; a terminal that has gone counts as SIGHUP. */
export type Outcome = "quit" | "logout" | "login_needed" | "deleted" | EndSignal;

/** A signal that has ended the program. */
export type EndSignal = keyof typeof SIGNAL_STATUS;

/** Whether a signal was the reason. */
export function isSignal(outcome: Outcome): outcome is EndSignal {
  return Object.hasOwn(SIGNAL_STATUS, outcome);
}

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

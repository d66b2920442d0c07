/**
 * Whom a script knows, and whom it talks to. It asks the server nothing.
 *
 * Invariant: before a login nobody is known, which is no answer to who there is; after a logout nobody
 * is known any more.
 */

import {
  type Directory,
  EMPTY,
  ofSession,
  resolve,
  withContacts,
  withPresence,
  withSender,
} from "../chat/directory.ts";
import { RequestError } from "../library/errors.ts";
import type { ClientEvent, Target } from "../library/events.ts";

/** The contacts of one script. */
export class ScriptContacts {
  readonly #hasSession: () => boolean;
  #directory: Directory = EMPTY;
  #current: Target | undefined;

  /** @param hasSession Somebody is logged in, or on the way back. */
  constructor(hasSession: () => boolean) {
    this.#hasSession = hasSession;
  }

  /** Everybody and every group. */
  get directory(): Directory {
    return this.#directory;
  }

  /** The conversation that is open. */
  get current(): Target | undefined {
    return this.#current;
  }

  /** Learns from an event of the client. */
  onEvent(event: ClientEvent): void {
    switch (event.type) {
      case "session":
        this.#directory = ofSession(this.#directory, event.session);
        return;
      case "session_changed":
        this.#directory = withContacts(this.#directory, event.session);
        return;
      case "presence":
        this.#directory = withPresence(this.#directory, event.id, event.state === "online");
        return;
      case "message": {
        const { id, name, groupid } = event.message;
        this.#directory = withSender(this.#directory, id, name, groupid ?? 0);
        return;
      }
      default:
    }
  }

  /** Nobody is logged in any more; whoever is next talks to nobody yet. */
  forget(): void {
    this.#directory = EMPTY;
    this.#current = undefined;
  }

  /** Opens a conversation, or none. */
  open(target: Target | undefined): void {
    this.#current = target;
  }

  /** @throws {RequestError} errno 3: nobody is logged in. */
  needSession(): void {
    if (!this.#hasSession()) throw new RequestError(3, "log in first");
  }

  /**
   * Whom a text means.
   *
   * @throws {RequestError} errno 3: nobody is logged in; 5: it means nobody known.
   */
  target(text: string): Target {
    this.needSession();
    const target = resolve(this.#directory, text);
    if (target === undefined) {
      throw new RequestError(5, `${text} is no friend, fellow member or group of yours`);
    }
    return target;
  }
}

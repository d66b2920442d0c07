/**
 * The errno table and the error that carries an errno to the protocol's edge.
 * Numbers are wire contract: append only, never reuse. Source: docs/protocol.md, "errno".
 */

/** Every reason a request can fail for, by name: its number on the wire and its default text. */
export const ERRNO = {
  /** Wrong id, name, password or token; the answer does not say which. */
  WRONG_CREDENTIALS: { errno: 1, text: "id or password is invalid!" },
  /** REGISTER or CREATE_GROUP with a name in use. */
  NAME_TAKEN: { errno: 1, text: "this name is taken, choose another" },
  /** The user has a session already. */
  ALREADY_ONLINE: { errno: 2, text: "this account is using, input another!" },
  /** The request needs a logged-in session. */
  NOT_LOGGED_IN: { errno: 3, text: "log in first" },
  /** No JSON object, an unknown msgid, a missing or wrong field, or the wrong state. */
  MALFORMED: { errno: 4, text: "malformed or invalid request" },
  /** The user or group named does not exist. */
  NO_SUCH_TARGET: { errno: 5, text: "no such user or group" },
  /** Exists, but not for this user: a group one is no member of. */
  NOT_PERMITTED: { errno: 6, text: "not permitted" },
  /** Over a rate limit. */
  TOO_FAST: { errno: 7, text: "too fast, slow down" },
  /** Over a size limit. */
  TOO_LARGE: { errno: 8, text: "too large" },
  /** Refused for a passing reason: overload, a store that is away, a node that stops. */
  TRY_LATER: { errno: 9, text: "try again later" },
} as const;

/** A name in the errno table. */
export type ErrorCode = keyof typeof ERRNO;

/** A refusal that goes to the peer as `errno` and `errmsg`. */
export class ChatError extends Error {
  override readonly name = "ChatError";
  /** Number on the wire. */
  readonly errno: number;

  /**
   * @param code Name in {@linkcode ERRNO}.
   * @param text What was wrong and what to do, for the peer; the table's text by default.
   */
  constructor(readonly code: ErrorCode, text?: string, options?: ErrorOptions) {
    super(text ?? ERRNO[code].text, options);
    this.errno = ERRNO[code].errno;
  }
}

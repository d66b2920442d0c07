/**
 * What can go wrong for a program that uses the client library.
 */

/** The server refused a request; `errno` is the protocol's. */
export class RequestError extends Error {
  /** Class of the error. */
  override readonly name = "RequestError";

  /**
   * Made by the library.
   *
   * @param errno Number on the wire (docs/protocol.md, "errno").
   * @param errmsg The server's words.
   * @param retryAfterMs When the server said how long to wait.
   */
  constructor(readonly errno: number, errmsg: string, readonly retryAfterMs?: number) {
    super(errmsg);
  }
}

/** No answer: the connection was lost, or the deadline passed. The request may have been executed. */
export class ConnectionLost extends Error {
  /** Class of the error. */
  override readonly name = "ConnectionLost";
}

/** The outbox holds as much as it may; nothing was queued. */
export class OutboxFull extends Error {
  /** Class of the error. */
  override readonly name = "OutboxFull";
}

/** The outbox file belongs to a client that is running. */
export class OutboxInUse extends Error {
  /** Class of the error. */
  override readonly name = "OutboxInUse";
}

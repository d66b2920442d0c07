/**
 * The events of a client between its login and the view that is to show them.
 *
 * Invariant: what a view is told of the connection when it comes is how it stands then; what became
 * of earlier attempts is nobody's any more.
 */

import type { ClientEvent } from "../library/events.ts";

/**
 * Events kept between the login and the first screen, some milliseconds. A message past it is not
 * lost: opening its conversation loads it.
 */
const MAX_EARLY_EVENTS = 10_000;

/** Hands events on; keeps those that come before anybody takes them. */
export class EventRelay {
  #sink: ((event: ClientEvent) => void) | undefined;
  #early: ClientEvent[] = [];

  /** Takes an event. */
  readonly take = (event: ClientEvent): void => {
    if (this.#sink !== undefined) return this.#sink(event);
    // A dialogue may have gone through connections that failed: to a view, which takes "offline" for
    // the end of this session, they would be news.
    if (event.type === "connection") this.#early = this.#early.filter((old) => !isOfLink(old));
    if (this.#early.length < MAX_EARLY_EVENTS) this.#early.push(event);
  };

  /** Events go to `sink` from now on, those that were kept first. */
  attach(sink: (event: ClientEvent) => void): void {
    this.#sink = sink;
    const early = this.#early;
    this.#early = [];
    for (const event of early) sink(event);
  }
}

function isOfLink(event: ClientEvent): boolean {
  return event.type === "connection" || event.type === "bye";
}

/**
 * How far the page in the window is scrolled: the current conversation, or home. It draws nothing and
 * loads nothing.
 *
 * Invariant: a page that is turned to is seen at its end, and what comes in while one reads further up
 * moves nothing.
 */

import { homeRows } from "./home_page.ts";
import { columnOf } from "./layout.ts";
import { type Anchor, moved, windowAt } from "./scroll.ts";
import { currentOf, type State } from "../../chat/state.ts";

/** What has come into view in a conversation. */
export interface Scrolled {
  readonly atBottom: boolean;
  /** The first message that is loaded is in view, for one who wants to see earlier ones. */
  readonly wantsOlder: boolean;
}

/** The window of one screen. */
export class Viewport {
  #anchor: Anchor | undefined;
  #homeUp = 0;

  /** Where the conversation is scrolled to; undefined at its end. */
  get anchor(): Anchor | undefined {
    return this.#anchor;
  }

  /** Rows that the home page is scrolled up. */
  get homeUp(): number {
    return this.#homeUp;
  }

  /** The end of the page is to be seen. */
  toEnd(): void {
    this.#anchor = undefined;
    this.#homeUp = 0;
  }

  /**
   * Scrolls by a window's height, less the row that both have.
   *
   * @param pages 1 is up, -1 down.
   * @param height Rows of the window.
   * @returns undefined at home.
   */
  scroll(state: State, pages: 1 | -1, height: number, columns: number): Scrolled | undefined {
    const rows = Math.max(1, height - 1) * pages;
    const current = currentOf(state);
    if (current === undefined) {
      const above = Math.max(0, homeRows(state, columns).length - height);
      const wanted = Math.min(this.#homeUp, above) + rows;
      this.#homeUp = Math.max(0, Math.min(wanted, above));
      return undefined;
    }
    const column = columnOf(state, current, columns);
    this.#anchor = moved(column, this.#anchor, rows, height);
    return {
      atBottom: this.#anchor === undefined,
      wantsOlder: pages > 0 && windowAt(column, this.#anchor, height).atTop,
    };
  }
}

import { assertEquals } from "@std/assert";
import { homeRows } from "../../client/terminal/screen/home_page.ts";
import { reduce } from "../../client/chat/reducer.ts";
import { INITIAL, type State } from "../../client/chat/state.ts";
import { Viewport } from "../../client/terminal/screen/viewport.ts";

const COLUMNS = 80;
const HEIGHT = 10;

/** Home, with a notice of so many lines. */
function home(lines: number): State {
  const text = Array.from({ length: lines }, (_, at) => `line ${at}`).join("\n");
  return reduce(INITIAL, { type: "notice", text, tone: "info", now: 0 });
}

Deno.test("home scrolls up to its first row and from there down again", () => {
  const viewport = new Viewport();
  const state = home(20);
  const top = homeRows(state, COLUMNS).length - HEIGHT;

  const places = [1, 1, 1, 1, -1, -1, -1].map((pages) => {
    viewport.scroll(state, pages === 1 ? 1 : -1, HEIGHT, COLUMNS);
    return viewport.homeUp;
  });

  assertEquals(places, [9, top, top, top, top - 9, Math.max(0, top - 18), 0]);
});

Deno.test("the end of home is shown to one who had scrolled up when something was asked for", () => {
  const viewport = new Viewport();
  viewport.scroll(home(20), 1, HEIGHT, COLUMNS);

  viewport.toEnd();

  assertEquals(viewport.homeUp, 0);
});

/** Flame graphs of all threads in one HTML file that needs nothing else. */

import type { Frame } from "./tally.ts";

/** Frames narrower than this share of their thread are left out. */
const SMALLEST = 0.0005;

interface Node {
  readonly n: string;
  readonly v: number;
  readonly c: readonly Node[];
}

function toNode(frame: Frame, wholeMs: number): Node {
  const children = [...frame.children.values()]
    .filter((child) => child.ms >= wholeMs * SMALLEST)
    .sort((a, b) => b.ms - a.ms);
  return {
    n: frame.name,
    v: Math.round(frame.ms * 100) / 100,
    c: children.map((child) => toNode(child, wholeMs)),
  };
}

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>CPU profile</title>
<style>
body { font: 12px/1.4 system-ui, sans-serif; margin: 1em; }
h2 { font-size: 14px; margin: 1.5em 0 .3em; }
.graph { position: relative; }
.graph div { position: absolute; height: 17px; overflow: hidden; white-space: nowrap;
  border-right: 1px solid #fff; border-bottom: 1px solid #fff; box-sizing: border-box;
  padding: 0 3px; cursor: pointer; font: 11px/16px ui-monospace, monospace; }
.graph div:hover { outline: 1px solid #000; z-index: 1; }
</style>
<p>Width is time, callers above; click a frame to widen it, the top one to go back.</p>
<script>
const colour = (name) => {
  let hash = 0;
  for (const ch of name) hash = (hash * 31 + ch.charCodeAt(0)) | 0;
  const own = name.includes("/") && !name.includes("ext:");
  return "hsl(" + (own ? 15 + (hash & 31) : 190 + (hash & 31)) + " 80% " + (68 + (hash >> 8 & 7)) + "%)";
};
const draw = (box, root, focus) => {
  box.replaceChildren();
  let rows = 0;
  const put = (node, left, width, row) => {
    rows = Math.max(rows, row + 1);
    const div = document.createElement("div");
    div.style.cssText = "left:" + left + "%;width:" + width + "%;top:" + row * 17 + "px;background:" + colour(node.n);
    div.textContent = width > 1 ? node.n : "";
    div.title = node.n + " \\u2014 " + node.v.toFixed(1) + " ms, " + (100 * node.v / root.v).toFixed(1) + " % of the thread";
    div.onclick = () => draw(box, root, node === focus ? root : node);
    box.append(div);
    let at = left;
    for (const child of node.c) {
      const share = width * child.v / node.v;
      if (share > 0.05) put(child, at, share, row + 1);
      at += share;
    }
  };
  put(focus, 0, 100, 0);
  box.style.height = rows * 17 + "px";
};
for (const [title, root] of DATA) {
  const head = document.createElement("h2");
  head.textContent = title;
  const box = document.createElement("div");
  box.className = "graph";
  document.body.append(head, box);
  if (root.v > 0) draw(box, root, root);
}
</script>
`;

/** The page; one graph per thread. */
export function flamePage(threads: readonly { title: string; flame: Frame }[]): string {
  const data = threads.map(({ title, flame }) => [title, toNode(flame, flame.ms)]);
  // "<" may not stand in a script as is: a function's name could close it.
  const json = JSON.stringify(data).replaceAll("<", "\\u003c");
  return PAGE.replace("DATA", () => json);
}

/**
 * What Tab makes of the word before the cursor: commands, people, groups, options. Pure.
 */

import { OPTIONS } from "../../chat/app_view.ts";
import { type ArgKind, COMMAND_LIST, type CommandSpec } from "../../chat/commands/command_table.ts";
import { type Editor, replace } from "./editor.ts";
import type { Room } from "../../chat/directory.ts";
import { currentOf, type State } from "../../chat/state.ts";

/** A completion that is under way. */
export interface Completion {
  /** Where the word begins. */
  readonly from: number;
  /** What it may become, each with what follows it. */
  readonly candidates: readonly string[];
  /** Which of them is in the line; -1: only what they have in common. */
  readonly at: number;
}

/** What Tab does: the line after it, and what to show and to go on with. */
export interface Completed {
  readonly editor: Editor;
  readonly completion: Completion | undefined;
}

/** Completes; a second Tab goes through the candidates, `step` -1 backwards. */
export function complete(
  state: State,
  editor: Editor,
  running: Completion | undefined,
  step: 1 | -1,
): Completed {
  if (running !== undefined) {
    const count = running.candidates.length;
    const at = running.at < 0 && step < 0 ? count - 1 : (running.at + step + count) % count;
    const text = running.candidates[at] ?? "";
    return {
      editor: replace(editor, running.from, editor.cursor, text),
      completion: { ...running, at },
    };
  }
  const before = editor.text.slice(0, editor.cursor);
  const { from, candidates } = candidatesFor(state, before);
  const [only, ...others] = candidates;
  if (only === undefined) return { editor, completion: undefined };
  if (others.length === 0) {
    return { editor: replace(editor, from, editor.cursor, only), completion: undefined };
  }
  const common = commonPrefix(candidates);
  const typed = before.slice(from);
  const grown = common.length > typed.length ? common : typed;
  return {
    editor: replace(editor, from, editor.cursor, grown),
    completion: { from, candidates, at: -1 },
  };
}

function candidatesFor(
  state: State,
  before: string,
): { readonly from: number; readonly candidates: readonly string[] } {
  const slash = /^\/(\S*)$/.exec(before);
  if (slash !== null) {
    const names = interactive().map(([name]) => `/${name} `);
    return { from: 0, candidates: matching(names, before) };
  }
  const command = /^\/(\S+)\s+/.exec(before);
  if (command === null) return mention(state, before);
  const spec = interactive().find(([name, { aliases }]) =>
    name === command[1] || aliases?.includes(command[1] ?? "")
  )?.[1];
  if (spec === undefined) return { from: before.length, candidates: [] };
  const { index, from } = argumentAt(before, command[0].length);
  const arg = spec.args[Math.min(index, spec.args.length - 1)];
  if (arg === undefined || (index >= spec.args.length && arg.kind !== "rest")) {
    return { from: before.length, candidates: [] };
  }
  if (arg.kind === "rest") return mention(state, before);
  const words = wordsFor(state, arg.kind, arg.name);
  return { from, candidates: matching(words, before.slice(from)) };
}

function interactive(): (readonly [string, CommandSpec])[] {
  return COMMAND_LIST.filter(([, spec]) => spec.only !== "script" && spec.isClassic !== true);
}

/** Which argument the text ends in, and where that begins. */
function argumentAt(text: string, start: number): { index: number; from: number } {
  let index = 0;
  let from = start;
  let quoted = false;
  for (let at = start; at < text.length; at++) {
    if (text[at] === '"') quoted = !quoted;
    if (text[at] !== " " || quoted) continue;
    if (text[at - 1] !== " ") index++;
    from = at + 1;
  }
  return { index, from };
}

function wordsFor(state: State, kind: ArgKind, name: string): string[] {
  const people = () => peopleOf(state).map((person) => `${addressed(person)} `);
  const groups = () => [...state.directory.rooms.values()].map((room) => `#${grouped(room)} `);
  switch (kind) {
    case "target":
      return [...people(), ...groups()];
    case "person":
      return people();
    case "group":
      return groups();
    case "word":
      if (name === "option") return OPTIONS.map((option) => `${option} `);
      if (name === "value") return ["on", "off"];
      if (name === "command") return interactive().map(([command]) => command);
      return [];
    case "number":
    case "rest":
      return [];
    default:
      return kind satisfies never;
  }
}

/** A name within a text: of the people in the conversation; at its beginning an address. */
function mention(
  state: State,
  before: string,
): { readonly from: number; readonly candidates: readonly string[] } {
  const word = /[^\s]*$/.exec(before)?.[0] ?? "";
  const from = before.length - word.length;
  if (word === "") return { from, candidates: [] };
  const current = currentOf(state);
  const room = current?.target.kind === "group"
    ? state.directory.rooms.get(current.target.id)
    : undefined;
  const names = room === undefined
    ? peopleOf(state)
    : room.members.flatMap((id) => state.directory.people.get(id)?.name ?? []);
  const others = names.filter((name) => name !== state.me?.name).sort();
  const words = others.map((name) => from === 0 ? `${name}: ` : `${name} `);
  return { from, candidates: matching(words, word) };
}

function peopleOf(state: State): string[] {
  const people = [...state.directory.people.values()].filter(({ id }) => id !== state.me?.id);
  // Friends first, they are meant more often.
  people.sort((a, b) => Number(b.friend) - Number(a.friend) || a.name.localeCompare(b.name));
  return people.map((person) => person.name);
}

/** A person's name as an argument: one that would be read as an id, a group or a mark needs an `@`. */
function addressed(name: string): string {
  return `${isNumeral(name) || /^[@#]/.test(name) ? "@" : ""}${spaced(name)}`;
}

/** A group's name after its `#`; one that would be read as an id is given by its own. */
function grouped({ id, name }: Room): string {
  return isNumeral(name) ? String(id) : spaced(name);
}

function isNumeral(name: string): boolean {
  return /^[1-9]\d*$/.test(name);
}

/** A name with a space in it needs quotes as an argument. */
function spaced(name: string): string {
  return /\s/.test(name) ? `"${name}"` : name;
}

function matching(words: readonly string[], typed: string): string[] {
  const lower = typed.toLowerCase();
  // What stands before a name need not be typed.
  return words.filter((word) =>
    ["", '"', "@", '@"'].some((mark) => word.toLowerCase().startsWith(mark + lower))
  );
}

function commonPrefix(words: readonly string[]): string {
  let [prefix = ""] = words;
  for (const word of words) {
    while (!word.toLowerCase().startsWith(prefix.toLowerCase())) prefix = prefix.slice(0, -1);
  }
  return prefix;
}

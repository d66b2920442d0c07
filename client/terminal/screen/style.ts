/**
 * Styled text: what the layout makes and the screen draws. No terminal.
 */

/** How a piece of text looks. */
export interface Style {
  /** One of the terminal's own 16 colours, so that its theme applies. */
  readonly color?: number;
  readonly bold?: boolean;
  readonly dim?: boolean;
  readonly reverse?: boolean;
}

/** Text in one style, safe to print, without newlines. */
export interface Span {
  readonly text: string;
  readonly style?: Style;
}

/** One row of the screen. */
export type Row = readonly Span[];

/** Colours of the 16 by name. */
export const COLOR = { red: 1, green: 2, yellow: 3, blue: 4, magenta: 5, cyan: 6 } as const;

/** Colours that people get: those that read well on dark and on light. */
const PERSON_COLORS = [6, 5, 2, 3, 4, 1, 14, 13, 10, 12, 9];

/** The same colour for the same person, always. */
export function personColor(id: number): number {
  return PERSON_COLORS[id % PERSON_COLORS.length] ?? 6;
}

/**
 * The escape sequence that switches a style on, from plain; "" for plain.
 *
 * @param color Without it (NO_COLOR) bold, dim and reverse remain.
 */
export function sgr(style: Style | undefined, color: boolean): string {
  if (style === undefined) return "";
  const codes: number[] = [];
  if (style.bold === true) codes.push(1);
  if (style.dim === true) codes.push(2);
  if (style.reverse === true) codes.push(7);
  if (color && style.color !== undefined) {
    codes.push(style.color < 8 ? 30 + style.color : 82 + style.color);
  }
  return codes.length === 0 ? "" : `\x1b[${codes.join(";")}m`;
}

/** A row's text without styles. */
export function plainText(row: Row): string {
  return row.map((span) => span.text).join("");
}

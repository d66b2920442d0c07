/**
 * Lines of stdin, bounded, as they come.
 */

/** Longest line, in UTF-16 units: a message, escaped as JSON, and its command. */
const MAX_LINE_UNITS = 256 * 1024;

/**
 * Yields lines without their ends; the last may lack one.
 *
 * @throws {RangeError} A line is too long to be a command.
 */
export async function* stdinLines(): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(64 * 1024);
  // What was typed while a password was asked for, in raw mode, has the Enter key's own character.
  const ends = Deno.stdin.isTerminal() ? /\r\n?|\n/ : /\r?\n/;
  let held = "";
  while (true) {
    const count = await Deno.stdin.read(buffer);
    held += count === null ? decoder.decode() : decoder.decode(buffer.subarray(0, count), {
      stream: true,
    });
    const lines = held.split(ends);
    held = lines.pop() ?? "";
    yield* lines;
    if (count === null) break;
    if (held.length > MAX_LINE_UNITS) {
      throw new RangeError(`a line of more than ${MAX_LINE_UNITS} characters on stdin`);
    }
  }
  if (held !== "") yield held;
}

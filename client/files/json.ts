/**
 * JSON of files and input lines, as yet unchecked. What it has to be is for the schema that follows.
 */

/** The value of a text; undefined when it is no JSON, which no schema takes. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

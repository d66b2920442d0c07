/**
 * Parses JSON of files and input lines. Its shape is not checked here: a schema does that next.
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

/**
 * The chat program: reads flags, chooses between terminal and script, and answers for the exit
 * status: 0 everything succeeded, 1 something failed, 2 wrong flags; 128 and a signal's number.
 */

import { FlagError, flagHelp, parseFlags } from "./flags.ts";
import { OutboxInUse } from "./library/errors.ts";
import { asker } from "./terminal/input/prompt.ts";
import { TerminalInput } from "./terminal/input/terminal_input.ts";
import { runInteractive } from "./terminal/interactive.ts";
import { ProfileError } from "./profile/profile.ts";
import { runScript } from "./script/run_script.ts";

/** A variable of the environment; one that may not be read counts as unset. */
function env(name: string): string | undefined {
  try {
    return Deno.env.get(name);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}

/** Asks for a secret without touching stdout, which belongs to the script. */
async function askOnStderr(question: string): Promise<string | undefined> {
  // Byte by byte: what follows the answer are commands, and not its to take.
  const input = new TerminalInput(1);
  const encoder = new TextEncoder();
  const ask = asker(input, (text) => Deno.stderr.writeSync(encoder.encode(text)));
  const answer = await ask(question, { secret: true });
  input.raw(false);
  return answer;
}

async function main(): Promise<number> {
  const flags = parseFlags(Deno.args, env);
  if (flags.help) {
    await Deno.stdout.write(new TextEncoder().encode(flagHelp()));
    return 0;
  }
  const isScript = flags.json || flags.exec !== undefined || !Deno.stdin.isTerminal();
  return isScript ? await runScript(flags, env, askOnStderr) : await runInteractive(flags, env);
}

try {
  Deno.exit(await main());
} catch (error) {
  if (error instanceof OutboxInUse) {
    console.error("chat: another client uses this profile; --profile NAME uses another");
    Deno.exit(1);
  }
  if (error instanceof FlagError || error instanceof ProfileError) {
    console.error(`chat: ${error.message}`);
    Deno.exit(2);
  }
  // A defect: with its stack.
  console.error(error);
  Deno.exit(1);
}

/**
 * The client program in a real pseudo-terminal, tmux: keys in, the screen's text out.
 * tmux is installed when it is missing (Debian, root), like the services of other tests.
 */

import { delay } from "@std/async/delay";
import { cleanEnv, ROOT, taskCommand } from "./server_harness.ts";

/** How long a screen may take to show what is expected, in ms. */
const WAIT_MS = 15_000;
/** How often it is looked at, in ms. */
const LOOK_MS = 25;

let installed: Promise<void> | undefined;

/** Resolves when `tmux` can be run. */
export function ensureTmux(): Promise<void> {
  installed ??= (async () => {
    if (await succeeds("tmux", ["-V"])) return;
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    const isInstalled = await succeeds("apt-get", ["install", "-y", "tmux"], env) ||
      await succeeds("apt-get", ["update"], env) &&
        await succeeds("apt-get", ["install", "-y", "tmux"], env);
    if (!isInstalled) throw new Error("tmux is missing and could not be installed by apt-get");
  })();
  return installed;
}

async function succeeds(command: string, args: string[], env = {}): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(command, { args, env, stderr: "null" }).output();
    return success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** How a client is started. */
export interface TerminalOptions {
  readonly columns?: number;
  readonly rows?: number;
  readonly args?: readonly string[];
  readonly env?: Record<string, string>;
  /** A shell command that its output goes to. */
  readonly pipe?: string;
  /** Where its profiles are; a directory of its own when absent. */
  readonly config?: string;
}

/** One terminal with a client in it. After the client has ended, a line `STATUS n` follows. */
export class ClientTerminal implements AsyncDisposable {
  readonly #socket: string;
  readonly #config: string;
  readonly #ownsConfig: boolean;
  readonly #record: string;
  /** When the client was started, by `performance.now()`. */
  startedMs = 0;

  private constructor(socket: string, config: string, ownsConfig: boolean) {
    this.#socket = socket;
    this.#config = config;
    this.#ownsConfig = ownsConfig;
    this.#record = `${config}/${socket}.out`;
  }

  /** Starts tmux and the client, as `deno task client` would be. */
  static async start(options: TerminalOptions = {}): Promise<ClientTerminal> {
    await ensureTmux();
    const socket = `chat-test-${crypto.randomUUID()}`;
    const config = options.config ?? await Deno.makeTempDir({ prefix: "chat-client-" });
    const terminal = new ClientTerminal(socket, config, options.config === undefined);
    const { command, args } = taskCommand("client");
    const client = [command, ...args, ...options.args ?? []].map(quoted).join(" ");
    const program = options.pipe === undefined ? client : `${client} | ${options.pipe}`;
    const env = { XDG_CONFIG_HOME: config, ...options.env };
    const exports = Object.entries(env).map(([name, value]) => `${name}=${quoted(value)}`);
    // It begins once its output is recorded. The status and `stty` prove how the terminal was
    // left; the shell then keeps the window open.
    const script = `while [ ! -e ${terminal.#record} ]; do sleep 0.01; done; ` +
      `${exports.join(" ")} ${program}; echo STATUS $?; ` +
      `stty -a | grep -o -- '-\\?icanon\\b\\|-\\?echo\\b' | tr '\\n' ' '; exec cat`;
    const size = ["-x", String(options.columns ?? 80), "-y", String(options.rows ?? 24)];
    await terminal.#tmux(["-f", "/dev/null", "new-session", "-d", ...size, script]);
    terminal.startedMs = performance.now();
    await terminal.#tmux(["pipe-pane", `cat > ${terminal.#record}`]);
    return terminal;
  }

  /** Where the client's profiles are. */
  get config(): string {
    return this.#config;
  }

  /** Presses keys, in tmux's names (`Enter`, `C-c`, `M-1`, `PPage`, `Tab`). */
  async press(...keys: string[]): Promise<void> {
    await this.#tmux(["send-keys", ...keys]);
  }

  /** Types text as it is. */
  async type(text: string): Promise<void> {
    await this.#tmux(["send-keys", "-l", "--", text]);
  }

  /** Types text and Enter. */
  async enter(text: string): Promise<void> {
    await this.type(text);
    await this.press("Enter");
  }

  /** Pastes, bracketed as a terminal does it. */
  async paste(text: string): Promise<void> {
    // tmux takes 16 KiB as an argument, and any size from a file.
    const file = `${this.#record}.paste`;
    await Deno.writeTextFile(file, text);
    await this.#tmux(["load-buffer", file]);
    await this.#tmux(["paste-buffer", "-p"]);
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#tmux(["resize-window", "-x", String(columns), "-y", String(rows)]);
  }

  /** The screen now, one string a row, without spaces at the end. */
  async rows(): Promise<string[]> {
    const text = await this.#tmux(["capture-pane", "-p"]);
    return text.replace(/\n$/, "").split("\n").map((row) => row.trimEnd());
  }

  /** The screen with its colours, as escape sequences. */
  async styled(): Promise<string> {
    return await this.#tmux(["capture-pane", "-p", "-e"]);
  }

  /** Column and row of the cursor, from 0. */
  async cursor(): Promise<{ column: number; row: number }> {
    const text = await this.#tmux(["display-message", "-p", "#{cursor_x} #{cursor_y}"]);
    const [column = 0, row = 0] = text.trim().split(" ").map(Number);
    return { column, row };
  }

  /** Whether a program has the alternate screen. */
  async isAlternate(): Promise<boolean> {
    return (await this.#tmux(["display-message", "-p", "#{alternate_on}"])).trim() === "1";
  }

  /** The program's process. */
  async pid(): Promise<number> {
    const shell = (await this.#tmux(["display-message", "-p", "#{pane_pid}"])).trim();
    const children = await Deno.readTextFile(`/proc/${shell}/task/${shell}/children`);
    return Number(children.trim().split(" ")[0]);
  }

  /** Tells the program that the window has got or lost the focus, as a terminal does. */
  async focus(focused: boolean): Promise<void> {
    await this.type(focused ? "\x1b[I" : "\x1b[O");
  }

  /** Everything that the program has written so far, waited for until it has `text` in it. */
  async output(text: string): Promise<string> {
    const end = performance.now() + WAIT_MS;
    while (true) {
      const output = await exists(this.#record) ? await Deno.readTextFile(this.#record) : "";
      if (output.includes(text)) return output;
      if (performance.now() > end) throw new Error(`never written: ${JSON.stringify(text)}`);
      await delay(LOOK_MS);
    }
  }

  /** Waits until the screen is as expected; fails with the screen as it is. */
  async until(expected: (rows: string[]) => boolean, what: string): Promise<string[]> {
    const end = performance.now() + WAIT_MS;
    while (true) {
      const rows = await this.rows();
      if (expected(rows)) return rows;
      if (performance.now() > end) {
        throw new Error(`never seen: ${what}. The screen:\n${rows.join("\n")}`);
      }
      await delay(LOOK_MS);
    }
  }

  /** Waits until a row matches. */
  async sees(pattern: RegExp): Promise<string[]> {
    return await this.until((rows) => rows.some((row) => pattern.test(row)), String(pattern));
  }

  /** Waits until the input line, the last row that is not blank, is as given. */
  async input(text: string): Promise<void> {
    await this.until((rows) => lastRow(rows) === text.trimEnd(), `the input line ${text}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const shell = (await this.#tmux(["display-message", "-p", "#{pane_pid}"])).trim();
    await this.#tmux(["kill-server"]);
    // Its files may be removed once it has gone.
    for (let tries = 0; tries < 400 && await exists(`/proc/${shell}`); tries++) {
      await delay(LOOK_MS);
    }
    if (this.#ownsConfig) await Deno.remove(this.#config, { recursive: true });
  }

  async #tmux(args: string[]): Promise<string> {
    const { success, stdout, stderr } = await new Deno.Command("tmux", {
      args: ["-u", "-L", this.#socket, ...args],
      cwd: ROOT,
      env: { ...cleanEnv(), NO_COLOR: "", LANG: "C.UTF-8", TMUX: "" },
      clearEnv: true,
    }).output();
    const text = new TextDecoder().decode(success ? stdout : stderr);
    if (!success) throw new Error(`tmux ${args.join(" ")}: ${text}`);
    return text;
  }
}

function lastRow(rows: readonly string[]): string {
  return rows.findLast((row) => row !== "") ?? "";
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

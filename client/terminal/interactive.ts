/**
 * The program for a person: first run or saved login, then full screen or plain lines, until they
 * leave. It owns the terminal and answers for giving it back.
 */

import { App } from "./app.ts";
import { isSignal, type Outcome, SIGNAL_STATUS } from "../chat/app_view.ts";
import type { Client } from "../library/client.ts";
import { systemClock } from "../library/clock.ts";
import { connect } from "../transport/connect.ts";
import { EventRelay } from "./event_relay.ts";
import type { Flags } from "../flags.ts";
import { freshProfile } from "../profile/fresh_profile.ts";
import { InputHistory } from "./input/input_history.ts";
import { Plain } from "./plain.ts";
import {
  configDirectory,
  isFor,
  isOfServer,
  Profile,
  type ProfileData,
  withoutToken,
} from "../profile/profile.ts";
import { type Ask, asker } from "./input/prompt.ts";
import { Screen, type Terminal } from "./screen/screen.ts";
import { type NotSignedIn, signIn } from "./sign_in.ts";
import { stdoutTerminal } from "./stdout_terminal.ts";
import { TerminalInput } from "./input/terminal_input.ts";
import { readTls } from "../transport/tls.ts";
import { Tui } from "./tui.ts";

/** How long unsent messages may take when leaving, in ms; the rest is sent next time. */
const LEAVE_FLUSH_MS = 1_000;

type Env = (name: string) => string | undefined;

/** @returns The exit status. */
export async function runInteractive(flags: Flags, env: Env): Promise<number> {
  const config = configDirectory(env);
  const profile = await Profile.open(config, flags.profile ?? "default");
  const terminal = stdoutTerminal(() => leave(1));
  const isPlain = flags.plain || env("TERM") === "dumb" || !Deno.stdout.isTerminal();
  const say = (text: string) => terminal.writeNow(`${text}\r\n`);
  const { data, damaged } = await profile.load();
  const input = new TerminalInput();
  const screen = new Screen(terminal, !env("NO_COLOR"));
  const restore = () => {
    screen.leave();
    input.raw(false);
  };
  const leave = (status: number): never => {
    try {
      restore();
    } finally {
      Deno.exit(status);
    }
  };
  const signals = new Signals({
    SIGINT: () => leave(SIGNAL_STATUS.SIGINT),
    SIGTERM: () => leave(SIGNAL_STATUS.SIGTERM),
    SIGHUP: () => leave(SIGNAL_STATUS.SIGHUP),
  });
  // A defect must not leave the terminal unusable; the error itself is printed by the runtime.
  globalThis.addEventListener("unhandledrejection", restore);
  globalThis.addEventListener("error", restore);
  try {
    if (damaged !== undefined) say(`The profile could not be read; it is now ${damaged}.`);
    const ask = asker(input, terminal.writeNow);
    let saved = data !== undefined && isFor(data, flags) ? data : undefined;
    const keepsOutbox = data === undefined || isOfServer(data, flags);
    let password = env("CHAT_PASSWORD") || undefined;
    let draft = "";
    while (true) {
      const hadToken = saved?.token !== undefined;
      const run = await enter({ flags, password, profile, saved, keepsOutbox, ask, say });
      if (run === "left") return 0;
      if (run === "refused") return 1;
      const stage = { input, screen, terminal, signals, isPlain, draft };
      const { outcome, unsent } = await show(run, profile, stage);
      if (outcome === "quit") return 0;
      if (isSignal(outcome)) return SIGNAL_STATUS[outcome];
      if (outcome === "deleted") {
        await profile.forget();
        say("The account is deleted.");
        return 0;
      }
      input.raw(true);
      if (outcome === "logout") say("You are logged out.");
      else if (!(await untilEnter(ask))) return 0;
      draft = outcome === "logout" ? "" : unsent;
      // It has been tried, or whoever has logged out is not to be logged in again unasked.
      if (outcome === "logout" || !hadToken) password = undefined;
      saved = (await profile.load()).data;
      if (saved !== undefined) saved = withoutToken(saved);
    }
  } finally {
    restore();
  }
}

/**
 * Waits for Enter alone: what was being typed on the screen must not answer the questions that follow.
 *
 * @returns False when the user leaves.
 */
async function untilEnter(ask: Ask): Promise<boolean> {
  while (true) {
    const question = "The saved login is no longer valid. Press Enter to log in: ";
    const answer = await ask(question, { secret: true });
    if (answer === undefined || answer === "") return answer === "";
  }
}

interface Entered {
  readonly client: Client;
  readonly saved: ProfileData;
  /** Where the client's events go: kept until somebody takes them. */
  readonly events: EventRelay;
}

interface Entrance {
  readonly flags: Flags;
  /** Tried before one is asked for. */
  readonly password: string | undefined;
  readonly profile: Profile;
  readonly saved: ProfileData | undefined;
  /** The profile's unsent messages are of the server that is wanted. */
  readonly keepsOutbox: boolean;
  readonly ask: Ask;
  readonly say: (text: string) => void;
}

/** Logs in with the saved token in the background, or asks. */
async function enter(
  { flags, password, profile, saved, keepsOutbox, ask, say }: Entrance,
): Promise<Entered | NotSignedIn> {
  const events = new EventRelay();
  const device = saved?.device ?? crypto.randomUUID();
  const common = {
    device,
    ...(keepsOutbox && { outboxFile: profile.outboxFile }),
    onEvent: events.take,
    tls: await readTls(flags, saved),
  };
  if (saved?.token !== undefined) {
    const { host, port, token, id, name } = saved;
    const client = await connect({ ...common, host, port, resume: { token, id, name } });
    return { client, saved, events };
  }
  const place = {
    host: flags.host ?? saved?.host ?? "127.0.0.1",
    port: flags.port ?? saved?.port ?? 6000,
  };
  const signedIn = await signIn({
    ask,
    say,
    connect: (at) => connect({ ...common, ...at }),
    place,
    placeIsGiven: flags.host !== undefined || flags.port !== undefined || saved !== undefined,
    name: flags.name ?? saved?.name,
    password,
    register: flags.register,
  });
  if (typeof signedIn === "string") return signedIn;
  const { client, session } = signedIn;
  const known = saved?.id === session.id
    ? saved
    : freshProfile({ ...flags, ...place }, session, device);
  const data = {
    ...known,
    device,
    ...signedIn.place,
    id: session.id,
    name: session.name,
    token: session.token,
  };
  await profile.save(data);
  return { client, saved: data, events };
}

interface Stage {
  readonly input: TerminalInput;
  readonly screen: Screen;
  readonly terminal: Terminal;
  readonly signals: Signals;
  readonly isPlain: boolean;
  /** What was being typed when the login ended. */
  readonly draft: string;
}

/** Shows the program until it ends; `unsent` is what was being typed then. */
async function show(
  { client, saved, events }: Entered,
  profile: Profile,
  { input, screen, terminal, signals, isPlain, draft }: Stage,
): Promise<{ readonly outcome: Outcome; readonly unsent: string }> {
  const { promise: ended, resolve: end } = Promise.withResolvers<Outcome>();
  const view = isPlain
    ? new Plain({
      input,
      print: (line) => terminal.writeNow(`${line}\n`),
      ask: asker(input, terminal.writeNow),
      end,
      ring: () => terminal.writeNow("\x07"),
    })
    : new Tui({
      input,
      screen,
      terminal,
      clock: systemClock,
      history: await InputHistory.open(profile.historyFile),
      draft,
      end,
    });
  const app = new App({ client, clock: systemClock, profile, saved, view });
  signals.take({
    SIGWINCH: () => view instanceof Tui && view.resized(),
    SIGCONT: () => {
      if (!(view instanceof Tui)) return;
      input.restoreRaw();
      screen.enter();
      view.resized();
    },
    SIGINT: () => view instanceof Plain ? view.interrupted() : end("SIGINT"),
    SIGTERM: () => end("SIGTERM"),
    SIGHUP: () => end("SIGHUP"),
  });
  app.start();
  view.start(app);
  events.attach((event) => app.onEvent(event));
  const outcome = await ended;
  // A closed window is told twice, by the input's end and by SIGHUP: the second must not cut short
  // what the first began. Whoever sends another signal does not want to wait.
  signals.take({ SIGHUP: () => {} });
  await view.stop();
  await client.close(outcome === "quit" ? LEAVE_FLUSH_MS : 0);
  await app.close();
  signals.release();
  return { outcome, unsent: view instanceof Tui ? view.draft : "" };
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGWINCH", "SIGCONT"] as const;

/** What a signal does; one that is not named does what it does without a run. */
type SignalHandlers = Readonly<Partial<Record<typeof SIGNALS[number], () => unknown>>>;

/**
 * Hands each signal of the process to what has taken it last; there is one of it, until the process
 * ends. While there is a listener, no signal ends the program behind its back, so that the terminal
 * can be given back first.
 */
class Signals {
  #taken: SignalHandlers = {};

  /** @param otherwise What signals do that nobody has taken. */
  constructor(otherwise: SignalHandlers) {
    for (const signal of SIGNALS) {
      if (Deno.build.os === "windows" && signal !== "SIGINT") continue;
      Deno.addSignalListener(signal, () => void (this.#taken[signal] ?? otherwise[signal])?.());
    }
  }

  /** Signals go to these handlers first from now on. */
  take(handlers: SignalHandlers): void {
    this.#taken = handlers;
  }

  /** Nobody takes them. */
  release(): void {
    this.#taken = {};
  }
}

/**
 * The load generator: one process, one thread, one work. Prints one JSON object per line:
 * `{"event":"ready"}` when set-up is over, `{"event":"measuring"}` after the warm-up, then `{"event":"result", …}`.
 * Run by bench/main.ts; by hand: `deno run -A bench/load/main.ts pairs --port 6000 --n 50`.
 */

import { Accounts } from "./accounts.ts";
import { Flows, type Party } from "./flows.ts";
import { Loop } from "./loop.ts";
import { cpuSeconds, machineBusySeconds, residentKib } from "./processes.ts";
import { measureIdle, prepareLogins, prepareResumes, Visits } from "./sessions.ts";
import { Storm } from "./storm.ts";
import { parseSettings, type Settings } from "./settings.ts";

const GATE_MS = 120_000;
const encoder = new TextEncoder();

function print(line: Record<string, unknown>): void {
  const bytes = encoder.encode(JSON.stringify(line) + "\n");
  let at = 0;
  while (at < bytes.length) at += Deno.stdout.writeSync(bytes.subarray(at));
}

/** Says that set-up is over and waits for the file that lets it go on. */
function waitForGate(loop: Loop, settings: Settings): void {
  print({ event: "ready" });
  const end = performance.now() + GATE_MS;
  while (settings.gate !== "" && !exists(settings.gate)) {
    if (performance.now() > end) throw new Error(`no ${settings.gate} after ${GATE_MS} ms`);
    loop.turn(10); // the sessions' pings want answers
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Users and groups for the flows, logged in. */
function gather(accounts: Accounts, settings: Settings): Party[] {
  const { n, m, work, port, port2 } = settings;
  const isGroup = work === "group" || work === "groupoff";
  const online = work === "group" ? m - 1 : 1;
  const offline = work === "groupoff" ? m : 0;
  const per = 1 + offline + online;
  const ids = accounts.register(port, n * per);
  const at = (f: number, k: number) => ids[f * per + k] ?? 0;

  const flows = Array.from({ length: n }, (_, f) => f);
  const senderIds = flows.map((f) => at(f, 0));
  const receiverIds = flows.flatMap((f) =>
    Array.from({ length: online }, (_, k) => at(f, 1 + offline + k))
  );
  const links = accounts.login(
    [...senderIds, ...receiverIds],
    (i) => i < n ? port : port2,
  );
  const senders = links.slice(0, n);
  const receivers = flows.map((f) => links.slice(n + f * online, n + (f + 1) * online));
  const targets = isGroup
    ? accounts.groups(
      port,
      senderIds,
      senders,
      flows.map((f) => [
        ...Array.from({ length: offline }, (_, k) => ({ id: at(f, 1 + k), link: undefined })),
        ...(receivers[f] ?? []).map((link, k) => ({ id: at(f, 1 + offline + k), link })),
      ]),
    )
    : flows.map((f) => at(f, 1 + offline));
  return flows.flatMap((f) => {
    const sender = senders[f];
    return sender === undefined ? [] : [{
      sender,
      senderId: senderIds[f] ?? 0,
      receivers: receivers[f] ?? [],
      target: targets[f] ?? 0,
    }];
  });
}

/** CPU time around what is measured, in cores: the server's, our own, and everybody else's. */
function startCpuClock(settings: Settings): () => Record<string, number> {
  const start = performance.now();
  const server = cpuSeconds(settings.pids);
  const own = cpuSeconds([Deno.pid]);
  const machine = machineBusySeconds();
  return () => {
    const elapsedS = (performance.now() - start) / 1000;
    const serverCores = (cpuSeconds(settings.pids) - server) / elapsedS;
    const generatorCores = (cpuSeconds([Deno.pid]) - own) / elapsedS;
    const allCores = (machineBusySeconds() - machine) / elapsedS;
    const otherCores = Math.max(0, allCores - serverCores - generatorCores);
    return { serverCores, generatorCores, otherCores };
  };
}

function runFlows(loop: Loop, settings: Settings): Record<string, unknown> {
  const accounts = new Accounts(loop, settings.v2, settings.setup);
  const flows = new Flows(loop, settings, gather(accounts, settings));
  waitForGate(loop, settings);
  flows.warm();
  print({ event: "measuring" });
  const stopClock = startCpuClock(settings);
  const elapsedS = flows.measure();
  const cores = stopClock();
  const result = flows.finish(elapsedS);
  return { ...result, ...cores, serverRssKib: residentKib(settings.pids) };
}

/** The result of `work` and the CPU time it took. */
function timed(settings: Settings, work: () => Record<string, unknown>): Record<string, unknown> {
  print({ event: "measuring" });
  const stopClock = startCpuClock(settings);
  const result = work();
  return { ...result, ...stopClock() };
}

function run(loop: Loop, settings: Settings): Record<string, unknown> {
  switch (settings.work) {
    case "pairs":
    case "open":
    case "group":
    case "groupoff":
      return runFlows(loop, settings);
    case "login": {
      const visits = new Visits(loop, settings, prepareLogins(loop, settings));
      waitForGate(loop, settings);
      return timed(settings, () => ({ ...visits.run(settings.secs) }));
    }
    case "resume": {
      const visits = new Visits(loop, settings, prepareResumes(loop, settings));
      waitForGate(loop, settings);
      return timed(settings, () => ({ ...visits.run(settings.secs) }));
    }
    case "idle":
      return measureIdle(loop, settings);
    case "storm": {
      const storm = new Storm(loop, settings);
      storm.prepare();
      waitForGate(loop, settings);
      print({ event: "measuring" });
      return { ...storm.run() };
    }
    default:
      return settings.work satisfies never;
  }
}

const settings = parseSettings(Deno.args);
const result = run(new Loop(settings.host), settings);
print({ event: "result", work: settings.work, ...result });

/**
 * The load generator: one process, one thread, one work. Prints one JSON object per line:
 * `{"event":"ready"}` when set-up is over, `{"event":"measuring"}` after the warm-up, then `{"event":"result", …}`.
 * Run by bench/main.ts; by hand: `deno run -A bench/load/main.ts pairs --port 6000 --n 50`.
 */

import { Accounts } from "./accounts.ts";
import { Flows, type Party } from "./flows.ts";
import { Loop } from "./loop.ts";
import { cpuSeconds, residentKib } from "./processes.ts";
import { measureIdle, prepareLogins, prepareResumes, Storm, Visits } from "./sessions.ts";
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

function runFlows(loop: Loop, settings: Settings): Record<string, unknown> {
  const accounts = new Accounts(loop, settings.v2, settings.setup);
  const flows = new Flows(loop, settings, gather(accounts, settings));
  waitForGate(loop, settings);
  flows.warm();
  print({ event: "measuring" });
  const serverBefore = cpuSeconds(settings.pids);
  const ownBefore = cpuSeconds([Deno.pid]);
  const elapsedS = flows.measure();
  const ownCpuS = cpuSeconds([Deno.pid]) - ownBefore;
  const serverCpuS = cpuSeconds(settings.pids) - serverBefore;
  const delivered = flows.delivered;
  print({ event: "measured" });
  const result = flows.finish(elapsedS);
  return {
    ...result,
    serverCpuSPerM: settings.pids.length > 0 && delivered > 0 ? serverCpuS / delivered * 1e6 : -1,
    serverCores: serverCpuS / elapsedS,
    generatorCores: ownCpuS / elapsedS,
    serverRssKib: residentKib(settings.pids),
  };
}

/** Measures `work` with the CPU time of server and generator around it. */
function timed(settings: Settings, work: () => Record<string, unknown>): Record<string, unknown> {
  print({ event: "measuring" });
  const start = performance.now();
  const serverBefore = cpuSeconds(settings.pids);
  const ownBefore = cpuSeconds([Deno.pid]);
  const result = work();
  const elapsedS = (performance.now() - start) / 1000;
  return {
    ...result,
    serverCores: (cpuSeconds(settings.pids) - serverBefore) / elapsedS,
    generatorCores: (cpuSeconds([Deno.pid]) - ownBefore) / elapsedS,
  };
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

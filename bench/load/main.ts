/**
 * The load generator: one process, one thread, one work. Prints one JSON object per line:
 * `{"event":"measuring"}` when set-up and warm-up are over, then `{"event":"result", …}`.
 * Run by bench/main.ts; by hand: `deno run -A bench/load/main.ts pairs --port 6000 --n 50`.
 */

import { Accounts } from "./accounts.ts";
import { Flows, type Party } from "./flows.ts";
import { dieWithParent } from "./libc.ts";
import { Loop } from "./loop.ts";
import { cpuSeconds, residentKib } from "./processes.ts";
import { parseSettings, type Settings } from "./settings.ts";

const encoder = new TextEncoder();

function print(line: Record<string, unknown>): void {
  const bytes = encoder.encode(JSON.stringify(line) + "\n");
  let at = 0;
  while (at < bytes.length) at += Deno.stdout.writeSync(bytes.subarray(at));
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

const settings = parseSettings(Deno.args);
dieWithParent();
const loop = new Loop(settings.host);
const result = runFlows(loop, settings);
print({ event: "result", work: settings.work, ...result });

/** A client process of a chaos run: some simulated users, until the harness says end or is gone. */

import { delay } from "@std/async/delay";
import { type Order, type Phase, Subordinate } from "./control.ts";
import { Plan } from "./plan.ts";
import { SimUser } from "./user.ts";

const REPORT_MS = 250;
/** No message for so long after the last: nothing more is expected, ms. */
const QUIET_MS = 1_500;

const [planPath = "", indexText = ""] = Deno.args;
const index = Number(indexText);
const plan = Plan.parse(JSON.parse(await Deno.readTextFile(planPath)));
const ids = plan.processes[index] ?? [];
const users = plan.people.filter((p) => ids.includes(p.id)).map((p) => new SimUser(plan, p));
const harness = await Subordinate.connect(plan.controlPort);

let phase: Phase = "login";
/** The order in hand is carried out, but for what `isQuiet` adds. */
let carriedOut = false;

async function obey(order: Order): Promise<void> {
  switch (order.phase) {
    case "login":
      await Promise.all(users.map((u) => u.arrive()));
      return;
    case "run":
      await Promise.all(users.map((u) => u.arrive()));
      for (const user of users) user.run(order.since);
      return;
    case "drain":
      await Promise.all(users.map((u) => u.drain()));
      return;
    case "history":
      for (const user of users) await user.readHistories();
      return;
    case "leave":
      for (const user of users) {
        const leaver = order.leavers.find((l) => l.user === user.person.id);
        if (leaver !== undefined) await user.leave(leaver.how);
      }
      return;
    case "end":
      await Promise.all(users.map((u) => u.end()));
  }
}

function isQuiet(): boolean {
  const now = Date.now();
  return users.every((u) => u.online && u.unsent === 0 && now - u.record.seenAt > QUIET_MS);
}

async function reportAll(): Promise<void> {
  while (phase !== "end") {
    const sum = (of: (user: SimUser) => number) => users.reduce((s, u) => s + of(u), 0);
    await harness.report({
      process: index,
      phase,
      done: carriedOut && (phase !== "drain" || isQuiet()),
      online: sum((u) => u.online ? 1 : 0),
      sent: sum((u) => u.record.sent),
      acked: sum((u) => u.record.acked),
      seen: sum((u) => u.record.seen),
      unsent: sum((u) => u.unsent),
    });
    await delay(REPORT_MS);
  }
}

const reporting = reportAll();
for await (const order of harness.orders()) {
  phase = order.phase;
  carriedOut = false;
  await obey(order);
  carriedOut = true;
  if (phase === "end") break;
}
phase = "end";
await reporting;
harness.close();
Deno.exit(0);

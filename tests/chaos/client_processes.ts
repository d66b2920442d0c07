/**
 * The client processes of a chaos run: starts them, gives them orders, waits until they are carried
 * out, ends them. What an order means is theirs.
 *
 * Invariant: every wait has a limit; what is not done by then is told as a trouble, and the run goes
 * on. A process that died by itself ends the run.
 */

import { fromFileUrl, join } from "@std/path";
import { deadline } from "@std/async/deadline";
import { delay } from "@std/async/delay";
import { Child } from "../../server/cluster/child.ts";
import { Service } from "../../server/cluster/services.ts";
import { Controller, type Order, type Phase } from "./control.ts";
import type { Plan } from "./plan.ts";

const CLIENT_MAIN = fromFileUrl(new URL("client_main.ts", import.meta.url));
const ROOT = fromFileUrl(new URL("../../", import.meta.url));
/** How long all may take to end, ms. */
const END_MS = 20_000;

/** What the processes need and tell. */
export interface ClientProcessesOptions {
  /** Where they write their output. */
  readonly dir: string;
  readonly signal: AbortSignal;
  /** Told how it goes. */
  say(text: string): void;
  /** Something did not happen in time. */
  trouble(text: string): void;
}

/** The client processes of one run. */
export class ClientProcesses {
  readonly #options: ClientProcessesOptions;
  readonly #controller = new Controller();
  readonly #processes: Service[] = [];

  constructor(options: ClientProcessesOptions) {
    this.#options = options;
  }

  /** Where they take orders. */
  get controlPort(): number {
    return this.#controller.port;
  }

  /** Those that were started, but for what was killed for good. */
  get all(): readonly Service[] {
    return this.#processes;
  }

  /** Starts one process for each share of the users. */
  async start(planPath: string, plan: Plan): Promise<void> {
    const { dir, signal } = this.#options;
    for (const index of plan.processes.keys()) {
      const name = `client${index}`;
      // A process has no port; its first report tells that it runs.
      const service = await Service.start({
        name,
        spawn: () => {
          this.#controller.reports.delete(index);
          return new Child({
            name,
            command: Deno.execPath(),
            args: ["run", "--allow-all", CLIENT_MAIN, planPath, `${index}`],
            cwd: ROOT,
            output: join(dir, `${name}.log`),
          });
        },
        ready: () => Promise.resolve(this.#controller.reports.has(index)),
        readyMs: 30_000,
        stopSignal: "SIGTERM",
      }, { port: 0, signal });
      this.#processes.push(service);
    }
  }

  /** Gives all of them an order. */
  async order(phase: Phase, more: Partial<Order> = {}): Promise<void> {
    await this.#controller.give({ ...this.#controller.order, ...more, phase });
  }

  /** Waits until every process has carried the order out; what does not is a trouble. */
  async until(phase: Phase, limitMs: number): Promise<void> {
    const end = Date.now() + limitMs;
    const { reports } = this.#controller;
    const missing = () =>
      this.#processes.map((_, i) => reports.get(i)).filter((r) => r?.phase !== phase || !r.done);
    while (missing().length > 0) {
      this.#options.signal.throwIfAborted();
      this.#checkRunning();
      if (Date.now() > end) {
        const states = missing().map((r) => JSON.stringify(r)).join("; ");
        this.#options.trouble(
          `after ${limitMs} ms clients have not finished "${phase}": ${states}`,
        );
        return;
      }
      await delay(100);
    }
  }

  /** Waits until all have ended after the order to. */
  async ended(): Promise<void> {
    try {
      await deadline(Promise.all(this.#processes.map((client) => client.ended)), END_MS);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      this.#options.trouble("clients did not end in time");
    }
  }

  /** Kills the first one for good, with the users it has. */
  async killFirst(): Promise<void> {
    await this.#processes[0]?.kill9();
    this.#processes.shift();
    this.#controller.reports.delete(0);
  }

  /** Tells how it goes every ten seconds. @returns What stops that. */
  tellProgress(since: number): () => void {
    const timer = setInterval(() => {
      const sum = { sent: 0, acked: 0, seen: 0, online: 0, unsent: 0 };
      for (const report of this.#controller.reports.values()) {
        for (const key of ["sent", "acked", "seen", "online", "unsent"] as const) {
          sum[key] += report[key];
        }
      }
      this.#options.say(
        `${seconds(Date.now() - since)}  sent ${sum.sent}, acknowledged ${sum.acked}, ` +
          `seen ${sum.seen}, online ${sum.online}, waiting ${sum.unsent}`,
      );
    }, 10_000);
    return () => clearInterval(timer);
  }

  /** Ends whatever is left. */
  async clear(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.kill9()));
    await this.#controller.close();
  }

  /** One that died by itself is a defect of the harness or the library. */
  #checkRunning(): void {
    for (const client of this.#processes) {
      if (!client.running) throw new Error(`${client.name} died:\n${client.tail()}`);
    }
  }
}

/** A time of the run, as it is told. */
export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1).padStart(6)} s`;
}

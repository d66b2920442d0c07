/**
 * A whole cluster on one machine: MariaDB, Redis, nodes, and nginx in front of them.
 *
 * Order: the stores start first and stop last, so that a node never runs without them; at the end
 * nginx stops accepting, the nodes drain, then nginx goes. A part that dies is reported and started
 * again with a growing delay; one that keeps dying makes the cluster give up. Nothing is restarted
 * silently. State: DIR/mariadb holds everything worth keeping; Redis keeps nothing.
 */

import { join } from "@std/path";
import type { Exit } from "./child.ts";
import type { Binaries } from "./install.ts";
import { startNginx } from "./nginx.ts";
import { type NodeService, startNode } from "./node.ts";
import type { Service } from "./service.ts";
import { startMariaDb, startRedis } from "./services.ts";

/** How a dead part is started again. */
export interface Retry {
  /** First delay; it doubles with every failure in a row, and is jittered. */
  readonly firstMs: number;
  /** Largest delay. */
  readonly mostMs: number;
  /** Failures in a row after which the cluster gives up. */
  readonly maxFailures: number;
}

/** About a minute and a half of trying. */
const RETRY: Retry = { firstMs: 500, mostMs: 15_000, maxFailures: 10 };
/** A part that ran for so long has recovered. */
const STABLE_MS = 60_000;

/** What to run. */
export interface ClusterOptions {
  readonly nodes: number;
  /** Address clients connect to; its port 0 is any free one. */
  readonly hostname: string;
  readonly port: number;
  /** Node i, from 1, has this port + i; 0 gives every node any free one. */
  readonly nodePortBase: number;
  /** The same for nodes' HTTP ports. */
  readonly httpPortBase: number;
  /** State of every part. */
  readonly dir: string;
  /** Further flags of every node. */
  readonly nodeArgs: readonly string[];
  readonly binaries: Binaries;
  readonly retry?: Retry;
  /** Receives every line of every part, and of the cluster itself under the name "cluster". */
  readonly onLine: (part: string, line: string) => void;
}

/** A running part, by the name its lines have. */
export interface Part {
  readonly name: string;
  readonly service: Service;
  /** For the summary: where it can be reached. */
  readonly address: string;
}

/** A running cluster. */
export class Cluster {
  /** Address clients connect to. */
  address = "";
  /** Settles with the reason when a part cannot be kept running. */
  readonly gaveUp: Promise<string>;
  readonly #options: ClusterOptions;
  readonly #parts: Part[] = [];
  readonly #stopping = new AbortController();
  readonly #watches: Promise<void>[] = [];
  readonly #giveUp: (reason: string) => void;

  private constructor(options: ClusterOptions) {
    this.#options = options;
    const { promise, resolve } = Promise.withResolvers<string>();
    this.gaveUp = promise;
    this.#giveUp = resolve;
  }

  /**
   * Starts every part and waits until all are ready.
   * @param signal Ends a start that is under way.
   * @throws {Error} A part did not start, or the signal's reason; nothing is left running.
   */
  static async start(options: ClusterOptions, signal: AbortSignal): Promise<Cluster> {
    const cluster = new Cluster(options);
    const abort = () => cluster.#stopping.abort(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    try {
      signal.throwIfAborted();
      await cluster.#startParts();
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /** By name: mariadb, nginx, node1, …, redis. */
  get parts(): readonly Part[] {
    return this.#parts.toSorted((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  }

  /**
   * Takes everything down.
   * @returns Parts that did not end in an orderly way, and how they ended; empty when all is well.
   */
  async stop(): Promise<string[]> {
    this.#stopping.abort(new Error("the cluster stops"));
    const complaints: string[] = [];
    const stop = async ({ name, service }: Part) => {
      const wasRunning = service.running;
      const exit = await service.stop();
      if (wasRunning && exit.code !== 0) complaints.push(`${name} ended with ${how(exit)}`);
    };
    const of = (test: (name: string) => boolean) => this.#parts.filter(({ name }) => test(name));
    const nginx = of((name) => name === "nginx");
    // No new clients; those who are connected hear from their node that it goes.
    for (const { service } of nginx) service.signal("SIGQUIT");
    await Promise.all(of((name) => name.startsWith("node")).map(stop));
    await Promise.all(nginx.map(stop));
    await Promise.all(of((name) => name === "redis").map(stop));
    await Promise.all(of((name) => name === "mariadb").map(stop));
    await Promise.all(this.#watches);
    return complaints;
  }

  /** Ends everything at once, by force. */
  async kill(): Promise<void> {
    this.#stopping.abort(new Error("the cluster is killed"));
    await Promise.all(this.#parts.map(({ service }) => service.kill9()));
    await Promise.all(this.#watches);
  }

  async #startParts(): Promise<void> {
    const { dir, binaries, nodes, hostname } = this.#options;
    const common = { dir, binaries };
    const [db, redis] = await this.#all([
      this.#start("mariadb", (on) => startMariaDb({ ...common, ...on }), ({ url }) => url),
      this.#start("redis", (on) => startRedis({ ...common, ...on }), ({ url }) => url),
    ]);
    const started = await this.#all(
      Array.from({ length: nodes }, (_, i) =>
        this.#start(`node${i + 1}`, (on) =>
          startNode({
            name: `node${i + 1}`,
            dir: join(dir, `node${i + 1}`),
            port: portOf(this.#options.nodePortBase, i + 1),
            httpPort: portOf(this.#options.httpPortBase, i + 1),
            mysql: db?.url,
            redis: redis?.url,
            proxyProtocol: true,
            args: this.#options.nodeArgs,
            ...on,
          }), nodeAddress)),
    );
    const nginx = await this.#start(
      "nginx",
      (on) =>
        startNginx({
          ...common,
          hostname,
          port: portOf(this.#options.port, 0),
          backends: started.map(({ port }) => `127.0.0.1:${port}`),
          ...on,
        }),
      ({ port }) => `${hostname}:${port}`,
    );
    this.address = `${hostname}:${nginx.port}`;
  }

  /** Starts one part, lists it, and watches it from then on. */
  async #start<S extends Service>(
    name: string,
    start: (on: { output: (line: string) => void; signal: AbortSignal }) => Promise<S>,
    address: (service: S) => string,
  ): Promise<S> {
    const service = await start({
      output: (line) => this.#options.onLine(name, line),
      signal: this.#stopping.signal,
    });
    const part = { name, service, address: address(service) };
    this.#parts.push(part);
    this.#watches.push(this.#watch(part));
    return service;
  }

  /** As Promise.all, but all have settled when it rejects: what has started is then listed. */
  async #all<T extends readonly Promise<unknown>[]>(
    starts: T,
  ): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
    await Promise.allSettled(starts);
    return await Promise.all(starts);
  }

  async #watch(part: Part): Promise<void> {
    let failures = 0;
    for (;;) {
      const since = performance.now();
      const exit = await part.service.ended;
      if (this.#stopping.signal.aborted) return;
      failures = performance.now() - since > STABLE_MS ? 1 : failures + 1;
      this.#say(`${part.name} (pid ${part.service.pid}) died with ${how(exit)}`);
      if (!await this.#revive(part, failures)) return;
    }
  }

  /** Starts a dead part again. False when the cluster stops, by request or because this failed. */
  async #revive(part: Part, failures: number): Promise<boolean> {
    const { firstMs, mostMs, maxFailures } = this.#options.retry ?? RETRY;
    for (let failed = failures; failed <= maxFailures; failed++) {
      const ceiling = Math.min(mostMs, firstMs * 2 ** (failed - 1));
      const delayMs = Math.round(ceiling * (0.5 + Math.random() / 2));
      this.#say(`starting ${part.name} again in ${delayMs} ms`);
      await pause(delayMs, this.#stopping.signal);
      try {
        this.#stopping.signal.throwIfAborted();
        await part.service.restart();
        this.#say(`${part.name} is ready again (pid ${part.service.pid})`);
        return true;
      } catch (error) {
        if (this.#stopping.signal.aborted) return false;
        this.#say(error instanceof Error ? error.message : String(error));
      }
    }
    this.#giveUp(`${part.name} failed ${maxFailures} times in a row`);
    return false;
  }

  #say(text: string): void {
    for (const line of text.split("\n")) this.#options.onLine("cluster", line);
  }
}

function nodeAddress({ port, httpPort }: NodeService): string {
  return `127.0.0.1:${port}, http://127.0.0.1:${httpPort}/healthz`;
}

/** Port 0 stands for any free one. */
function portOf(base: number, offset: number): number | undefined {
  return base === 0 ? undefined : base + offset;
}

function how({ code, signal }: Exit): string {
  return signal === null ? `status ${code}` : signal;
}

/** Waits; an abort ends the wait. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => resolve(), { once: true });
  return promise.finally(() => clearTimeout(timer));
}

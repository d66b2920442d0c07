/**
 * Orders from the harness to its client processes and reports back: JSON lines over loopback.
 * A client process whose harness is gone ends itself.
 */

import { z } from "zod";

/** What client processes should be doing. */
export const Phase = z.enum([
  /** Log in and wait. */
  "login",
  /** Send, answer, come and go. */
  "run",
  /** Send nothing new; come back for good and take what waits. */
  "drain",
  /** Read histories back. */
  "history",
  /** Some leave. */
  "leave",
  /** End. */
  "end",
]);
/** See {@linkcode Phase}. */
export type Phase = z.infer<typeof Phase>;

const Order = z.object({
  phase: Phase,
  /** When the phase `run` began, epoch ms. */
  since: z.number(),
  /** Users that leave in phase `leave`, by logging out or by closing. */
  leavers: z.array(z.object({ user: z.int(), how: z.enum(["logout", "close"]) })),
});
/** What the harness says. */
export type Order = z.infer<typeof Order>;

const Report = z.object({
  /** Index of the process in the plan. */
  process: z.int(),
  /** The latest order that is carried out. */
  phase: Phase,
  /** The order is carried out as far as it can be. */
  done: z.boolean(),
  online: z.int(),
  sent: z.int(),
  acked: z.int(),
  seen: z.int(),
  /** Messages that wait for an acknowledgement. */
  unsent: z.int(),
});
/** What a client process says. */
export type Report = z.infer<typeof Report>;

/** The harness's end. */
export class Controller {
  readonly port: number;
  /** Process ⇒ its latest report. */
  readonly reports = new Map<number, Report>();
  readonly #listener: Deno.TcpListener;
  readonly #conns = new Set<Deno.TcpConn>();
  readonly #work: Promise<void>[] = [];
  #order: Order = { phase: "login", since: 0, leavers: [] };

  constructor() {
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = this.#listener.addr.port;
    this.#work.push(this.#accept());
  }

  get order(): Order {
    return this.#order;
  }

  /** Gives an order to all processes, and to those that start later. */
  async give(order: Order): Promise<void> {
    this.#order = order;
    await Promise.all([...this.#conns].map((conn) => this.#tell(conn)));
  }

  async close(): Promise<void> {
    this.#listener.close();
    for (const conn of this.#conns) conn.close();
    this.#conns.clear();
    await Promise.all(this.#work);
  }

  async #accept(): Promise<void> {
    for (;;) {
      let conn: Deno.TcpConn;
      try {
        conn = await this.#listener.accept();
      } catch (error) {
        if (error instanceof Deno.errors.BadResource) return;
        throw error;
      }
      this.#conns.add(conn);
      this.#work.push(this.#serve(conn));
    }
  }

  async #serve(conn: Deno.TcpConn): Promise<void> {
    await this.#tell(conn);
    for await (const line of linesOf(conn)) {
      const report = Report.parse(JSON.parse(line));
      this.reports.set(report.process, report);
    }
    if (this.#conns.delete(conn)) conn.close();
  }

  async #tell(conn: Deno.TcpConn): Promise<void> {
    await say(conn, this.#order);
  }
}

/** A client process's end. */
export class Subordinate {
  readonly #conn: Deno.TcpConn;

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  static async connect(port: number): Promise<Subordinate> {
    return new Subordinate(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  async report(report: Report): Promise<void> {
    await say(this.#conn, report);
  }

  /** Orders as they come; ends when the harness is gone. */
  async *orders(): AsyncGenerator<Order, void, void> {
    for await (const line of linesOf(this.#conn)) yield Order.parse(JSON.parse(line));
  }

  close(): void {
    this.#conn.close();
  }
}

/** Writes one line; a peer that is gone is not an error here: its reader notices. */
async function say(conn: Deno.TcpConn, value: unknown): Promise<void> {
  let rest = new TextEncoder().encode(`${JSON.stringify(value)}\n`);
  try {
    while (rest.length > 0) rest = rest.subarray(await conn.write(rest));
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

async function* linesOf(conn: Deno.TcpConn): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(16 * 1024);
  let rest = "";
  for (;;) {
    let count: number | null;
    try {
      count = await conn.read(buffer);
    } catch (error) {
      if (isGone(error)) return;
      throw error;
    }
    if (count === null) return;
    const lines = (rest + decoder.decode(buffer.subarray(0, count), { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.BadResource ||
    error instanceof Deno.errors.Interrupted;
}

/**
 * The HTTP side. `/healthz`: the process lives. `/readyz`: 200 when messages get through, else 503
 * with the reason. `/metrics`: Prometheus' text format. One request a connection.
 *
 * Its own few lines of HTTP/1.1 because Deno.serve bounds neither connections nor time, and ends the
 * process when `accept` finds no descriptor left.
 * Invariants: at most MAX_CONNECTIONS are open, each for REQUEST_MS; when there are more, the oldest
 * without a whole request of the address with most such makes room, so that monitoring gets in; no
 * failed accept ends the loop.
 */

/** Serves until `stop`. */
export interface HttpServer {
  readonly port: number;
  stop(): Promise<void>;
}

/** The address cannot be listened on: one sentence with the flags to change. */
export function cannotListen(
  host: string,
  port: number,
  flags: string,
  cause: unknown,
): Error {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new Error(`cannot listen on ${host}:${port}, see ${flags}: ${why}`, { cause });
}

/** What is served. */
export interface HttpParts {
  /** Undefined when messages get through. */
  readonly problem: () => Promise<string | undefined>;
  readonly metrics: () => Promise<string>;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly type?: string;
}

/** A connection until it is closed. */
interface Open {
  readonly conn: Deno.Conn;
  readonly host: string;
  /** Its request is whole: it is being answered. */
  isAsked: boolean;
}

/** Monitoring needs a handful; each costs a descriptor that clients could have had. */
const MAX_CONNECTIONS = 64;
/** From accept to the last byte of the answer, ms. */
const REQUEST_MS = 10_000;
/** Longest request head, bytes. */
const MAX_HEAD_BYTES = 8 * 1024;
/** Wait after an accept that failed, ms: descriptors come back when somebody leaves. */
const ACCEPT_RETRY_MS = 50;

const TEXT = "text/plain; charset=utf-8";
/** Between two connections, ms. */
const ACCEPT_PAUSE_MS = 1;
const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";
const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

/** Serves until `stop`. @throws {Error} The address cannot be listened on. */
export function serveHttp(host: string, port: number, parts: HttpParts): HttpServer {
  let listener: Deno.TcpListener;
  try {
    listener = Deno.listen({ hostname: host, port });
  } catch (cause) {
    throw cannotListen(host, port, "--http-host and --http-port", cause);
  }
  const open = new Map<Open, Promise<void>>();
  let isStopping = false;
  const accepting = (async () => {
    while (!isStopping) {
      try {
        const conn = await listener.accept();
        // One at a time with a rest between: the gateway says why.
        await new Promise((resolve) => setTimeout(resolve, ACCEPT_PAUSE_MS));
        if (open.size >= MAX_CONNECTIONS && !makeRoom(open)) {
          conn.close();
          continue;
        }
        const one: Open = { conn, host: hostOf(conn), isAsked: false };
        open.set(one, answerOn(one, parts).finally(() => open.delete(one)));
      } catch {
        if (!isStopping) await new Promise((resolve) => setTimeout(resolve, ACCEPT_RETRY_MS));
      }
    }
  })();
  return {
    port: listener.addr.port,
    async stop() {
      isStopping = true;
      listener.close();
      await accepting;
      // Who has not sent a whole request yet must not hold the node's end up for REQUEST_MS.
      for (const { conn } of open.keys()) closeQuietly(conn);
      await Promise.all(open.values());
    },
  };
}

function hostOf(conn: Deno.Conn): string {
  return "hostname" in conn.remoteAddr ? conn.remoteAddr.hostname : "";
}

/** @returns False when all that are open are being answered. */
function makeRoom(open: Map<Open, Promise<void>>): boolean {
  const silent = [...open.keys()].filter(({ isAsked }) => !isAsked);
  const counts = new Map<string, number>();
  for (const { host } of silent) counts.set(host, (counts.get(host) ?? 0) + 1);
  const most = Math.max(0, ...counts.values());
  const oldest = silent.find(({ host }) => counts.get(host) === most);
  if (oldest === undefined) return false;
  open.delete(oldest);
  closeQuietly(oldest.conn);
  return true;
}

/** Reads one request, answers it, closes; never rejects. */
async function answerOn(one: Open, parts: HttpParts): Promise<void> {
  const { conn } = one;
  const timer = setTimeout(() => closeQuietly(conn), REQUEST_MS);
  try {
    const line = await requestLine(conn);
    if (line === undefined) return;
    one.isAsked = true;
    const { status, body, type = TEXT } = await answerTo(line, parts);
    const bytes = new TextEncoder().encode(body);
    const head = `HTTP/1.1 ${status} ${REASONS[status] ?? ""}\r\ncontent-type: ${type}\r\n` +
      `content-length: ${bytes.length}\r\nconnection: close\r\n\r\n`;
    await writeAll(conn, new TextEncoder().encode(head));
    await writeAll(conn, bytes);
    await conn.closeWrite();
  } catch {
    // The peer has gone or its time is over; there is nobody left to tell.
  } finally {
    clearTimeout(timer);
    closeQuietly(conn);
  }
}

/** The first line of a complete head; "" when the head is too long, undefined when it never ends. */
async function requestLine(conn: Deno.Conn): Promise<string | undefined> {
  const head = new Uint8Array(MAX_HEAD_BYTES);
  let length = 0;
  while (length < head.length) {
    const count = await conn.read(head.subarray(length));
    if (count === null) return undefined;
    length += count;
    const text = new TextDecoder().decode(head.subarray(0, length));
    if (text.includes("\r\n\r\n")) return text.slice(0, text.indexOf("\r\n"));
  }
  return "";
}

async function answerTo(line: string, { problem, metrics }: HttpParts): Promise<Answer> {
  const [, target] = /^GET (\/[^\s?]*)(?:\?\S*)? HTTP\/1\.[01]$/.exec(line) ?? [];
  try {
    switch (target) {
      case "/healthz":
        return { status: 200, body: "ok\n" };
      case "/readyz": {
        const wrong = await problem();
        return wrong === undefined
          ? { status: 200, body: "ok\n" }
          : { status: 503, body: `${wrong}\n` };
      }
      case "/metrics":
        return { status: 200, body: await metrics(), type: METRICS_TYPE };
      default:
        return line === ""
          ? { status: 400, body: `the request is longer than ${MAX_HEAD_BYTES} bytes\n` }
          : { status: 404, body: "not found: GET /healthz, /readyz or /metrics\n" };
    }
  } catch (error) {
    return { status: 500, body: `${error instanceof Error ? error.message : error}\n` };
  }
}

async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  let rest = bytes;
  while (rest.length > 0) rest = rest.subarray(await conn.write(rest));
}

function closeQuietly(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

/**
 * The HTTP side. `/healthz`: the process lives. `/readyz`: 200 when messages get through, else 503
 * with the reason. `/metrics`: Prometheus' text format.
 */

/** Serves until `stop`. */
export interface HttpServer {
  readonly port: number;
  stop(): Promise<void>;
}

/** The address cannot be listened on: one sentence with the flags to change. */
export function cannotListen(host: string, port: number, flag: string, cause: unknown): Error {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new Error(`cannot listen on ${host}:${port}, see --host and --${flag}: ${why}`, { cause });
}

/** What is served. */
export interface HttpParts {
  /** Undefined when messages get through. */
  readonly problem: () => Promise<string | undefined>;
  readonly metrics: () => Promise<string>;
}

const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Serves until `stop`. */
export function serveHttp(
  host: string,
  port: number,
  { problem, metrics }: HttpParts,
): HttpServer {
  const answer = async (request: Request) => {
    const { pathname } = new URL(request.url);
    switch (request.method === "GET" ? pathname : "") {
      case "/healthz":
        return new Response("ok\n");
      case "/readyz": {
        const wrong = await problem();
        return wrong === undefined
          ? new Response("ok\n")
          : new Response(`${wrong}\n`, { status: 503 });
      }
      case "/metrics":
        return new Response(await metrics(), { headers: { "content-type": METRICS_TYPE } });
      default:
        return new Response("not found\n", { status: 404 });
    }
  };
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = Deno.serve({ hostname: host, port, onListen() {} }, answer);
  } catch (cause) {
    throw cannotListen(host, port, "http-port", cause);
  }
  return { port: server.addr.port, stop: () => server.shutdown() };
}

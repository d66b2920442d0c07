/** The HTTP side: `GET /healthz` answers 200 when the node can serve, else 503 with the reason. */

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

/** @param problem Undefined when the node can serve. */
export function serveHttp(
  host: string,
  port: number,
  problem: () => Promise<string | undefined>,
): HttpServer {
  const answer = async (request: Request) => {
    const { pathname } = new URL(request.url);
    if (request.method !== "GET" || pathname !== "/healthz") {
      return new Response("not found\n", { status: 404 });
    }
    const wrong = await problem();
    return wrong === undefined ? new Response("ok\n") : new Response(`${wrong}\n`, { status: 503 });
  };
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = Deno.serve({ hostname: host, port, onListen() {} }, answer);
  } catch (cause) {
    throw cannotListen(host, port, "http-port", cause);
  }
  return { port: server.addr.port, stop: () => server.shutdown() };
}

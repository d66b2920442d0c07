/** The HTTP side: `GET /healthz` answers 200 when the node can serve, else 503 with the reason. */

/** Serves until `stop`. */
export interface HttpServer {
  readonly port: number;
  stop(): Promise<void>;
}

/** @param problem Undefined when the node can serve. */
export function serveHttp(
  host: string,
  port: number,
  problem: () => Promise<string | undefined>,
): HttpServer {
  const server = Deno.serve(
    { hostname: host, port, onListen() {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      if (request.method !== "GET" || pathname !== "/healthz") {
        return new Response("not found\n", { status: 404 });
      }
      const wrong = await problem();
      return wrong === undefined
        ? new Response("ok\n")
        : new Response(`${wrong}\n`, { status: 503 });
    },
  );
  return { port: server.addr.port, stop: () => server.shutdown() };
}

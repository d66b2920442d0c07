/** A whole cluster for tests: MariaDB, Redis, nodes and nginx as real processes on free ports. */

import {
  ensureServices,
  type NginxService,
  type NodeService,
  type Service,
  startMariaDb,
  startNginx,
  startNode,
  startRedis,
  type UrlService,
} from "../../server/cluster/services.ts";
import { TestPeer } from "./test_peer.ts";

/** Everything that runs. Disposing it ends it and removes its data. */
export class TestCluster implements AsyncDisposable {
  private constructor(
    readonly dir: string,
    readonly mariadb: UrlService,
    readonly redis: UrlService,
    readonly nodes: readonly NodeService[],
    readonly nginx: NginxService,
  ) {}

  /** Resolves when clients can connect. */
  static async start(nodeCount: number, args: readonly string[] = []): Promise<TestCluster> {
    const binaries = await ensureServices({ install: true });
    const dir = await Deno.makeTempDir({ prefix: "chat-cluster-" });
    const started: Service[] = [];
    const keep = <S extends Service>(service: S): S => {
      started.push(service);
      return service;
    };
    try {
      const [mariadb, redis] = await Promise.all([
        startMariaDb({ dir: `${dir}/mariadb`, binaries }).then(keep),
        startRedis({ dir: `${dir}/redis`, binaries }).then(keep),
      ]);
      const nodes = await Promise.all(
        Array.from({ length: nodeCount }, (_, i) =>
          startNode({
            dir: `${dir}/node${i + 1}`,
            name: `node${i + 1}`,
            mysql: mariadb.url,
            redis: redis.url,
            proxyProtocol: true,
            args: ["--password-cost", "64,1", "--workers", "1", ...args],
          }).then(keep)),
      );
      const backends = nodes.map((node) => `127.0.0.1:${node.port}`);
      const nginx = keep(await startNginx({ dir: `${dir}/nginx`, backends, binaries }));
      return new TestCluster(dir, mariadb, redis, nodes, nginx);
    } catch (error) {
      await Promise.allSettled(started.map((service) => service.kill9()));
      throw error;
    }
  }

  /** A connection to one node, past nginx, as nginx would make it. */
  async connect(node: number, v: 1 | 2 = 2): Promise<TestPeer> {
    const service = this.nodes[node];
    if (service === undefined) throw new RangeError(`no node ${node}`);
    const peer = await TestPeer.connect(service.port, v);
    await peer.sendText("PROXY TCP4 127.0.0.1 127.0.0.1 40000 6000\r\n");
    return peer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const services = [...this.nodes, this.nginx, this.redis, this.mariadb];
    await Promise.allSettled(services.map((service) => service.kill9()));
    await Deno.remove(this.dir, { recursive: true });
  }
}

/**
 * The floor: the smallest relay of the v1 protocol that Deno can be, in one thread. It registers,
 * logs in, makes groups and passes messages on, in memory; it checks nothing and stores nothing.
 * Every figure of the bench is also given as a share of what this reaches in the same run.
 *
 * Run: `deno run --allow-net=127.0.0.1 bench/floor.ts [port]`; the port is in the line it prints.
 */

interface Message {
  readonly msgid: number;
  readonly id: number;
  readonly to: number;
  readonly groupid: number;
  readonly groupname: string;
}

interface Group {
  readonly id: number;
  readonly groupname: string;
  readonly users: number[];
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const online = new Map<number, Deno.TcpConn>();
const groups: Group[] = [];
let users = 0;

async function write(conn: Deno.TcpConn, data: Uint8Array): Promise<void> {
  try {
    let at = 0;
    while (at < data.length) at += await conn.write(at === 0 ? data : data.subarray(at));
  } catch {
    // The peer has gone; its read loop ends by itself.
  }
}

function answer(conn: Deno.TcpConn, object: Record<string, unknown>): void {
  void write(conn, encoder.encode(JSON.stringify(object) + "\n"));
}

function onMessage(conn: Deno.TcpConn, data: Uint8Array): void {
  const message: Message = JSON.parse(decoder.decode(data));
  switch (message.msgid) {
    case 1:
      online.set(message.id, conn);
      answer(conn, {
        msgid: 2,
        errno: 0,
        id: message.id,
        groups: groups.filter((g) => g.users[0] === message.id)
          .map((g) => JSON.stringify({ ...g, users: g.users.map(String) })),
      });
      break;
    case 4:
      answer(conn, { msgid: 5, errno: 0, id: ++users });
      break;
    case 6: {
      const to = online.get(message.to);
      if (to !== undefined) void write(to, data);
      break;
    }
    case 8:
      groups.push({ id: groups.length, groupname: message.groupname, users: [message.id] });
      break;
    case 9:
      groups[message.groupid]?.users.push(message.id);
      break;
    case 10:
      for (const user of groups[message.groupid]?.users ?? []) {
        const to = user === message.id ? undefined : online.get(user);
        if (to !== undefined) void write(to, data);
      }
      break;
  }
}

/** Cuts objects by their braces: texts with braces in them would need a real splitter. */
async function serve(conn: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(64 * 1024);
  let held = 0;
  for (;;) {
    const n = await conn.read(held === 0 ? buffer : buffer.subarray(held)).catch(() => null);
    if (n === null) break;
    const limit = held + n;
    let start = 0;
    let depth = 0;
    for (let i = 0; i < limit; i++) {
      const byte = buffer[i];
      if (byte === 0x7b && depth++ === 0) start = i;
      else if (byte === 0x7d && --depth === 0) {
        onMessage(conn, buffer.slice(start, i + 1));
        start = i + 1;
      }
    }
    held = depth === 0 ? 0 : limit - start;
    if (held > 0) buffer.copyWithin(0, start, limit);
  }
  conn.close();
}

if (import.meta.main) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: Number(Deno.args[0] ?? 0) });
  console.log(`floor listening on 127.0.0.1:${listener.addr.port}`);
  for await (const conn of listener) {
    conn.setNoDelay(true);
    void serve(conn);
  }
}

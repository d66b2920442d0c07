/**
 * How a client begins: its outbox file is opened, then it is made and connects. What fails on the way
 * leaves nothing open.
 */

import { Client } from "../library/client.ts";
import { dial } from "./socket.ts";
import { Journal } from "./journal.ts";
import type { ClientOptions } from "../library/options.ts";

/**
 * Makes a client and connects it.
 *
 * @throws {ConnectionLost} No connection (not with `resume`, which goes on trying).
 * @throws {OutboxInUse} The outbox file belongs to a running client.
 */
export async function connect(options: ClientOptions = {}): Promise<Client> {
  const opened = options.outboxFile === undefined
    ? undefined
    : await Journal.open(options.outboxFile);
  const client = new Client(options, dial, opened?.journal, opened?.waiting ?? []);
  if (opened !== undefined && opened.damagedLines > 0) {
    client.report(4, `${opened.damagedLines} unreadable lines of the outbox file were left out`);
  }
  try {
    await client.start();
  } catch (error) {
    await client.close();
    throw error;
  }
  return client;
}

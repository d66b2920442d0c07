/**
 * `deno task migrate-store`: moves a node's SQLite data into an empty MySQL database. Arguments
 * and output; the work is actors/adapters/copy_store.ts. The node must not run.
 */

import { parseArgs } from "@std/cli/parse-args";
import { join } from "@std/path";
import { copyStore } from "../actors/adapters/copy_store.ts";
import { url } from "./settings/flag_values.ts";

const USAGE = `deno task migrate-store --data DIR --mysql URL

  --data DIR   data directory of a stopped node, with its chat.db
  --mysql URL  mysql://user:password@host:port/database: an empty database; or CHAT_MYSQL in the
               environment, which no list of processes shows
  --help       print this

Copies everything and compares the counts of every table; the data directory stays as it was.
Exit status: 0 copied, 1 not copied (the sentence says why), 2 wrong arguments.
`;

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

async function main(args: string[]): Promise<number> {
  const unknown: string[] = [];
  const flags = parseArgs(args, {
    string: ["data", "mysql"],
    boolean: ["help"],
    unknown: (arg) => unknown.push(arg),
  });
  if (flags.help === true) {
    console.log(USAGE);
    return 0;
  }
  const { data } = flags;
  const given = typeof flags.mysql === "string" ? flags.mysql : Deno.env.get("CHAT_MYSQL") ?? "";
  if (unknown.length > 0 || typeof data !== "string" || given === "") {
    console.error(unknown.length > 0 ? `unknown: ${unknown.join(" ")}\n\n${USAGE}` : USAGE);
    return EXIT_USAGE;
  }
  try {
    const mysql = url(given, "mysql", ["mysql:"]) ?? "";
    await copyStore(join(data, "chat.db"), mysql, (table, count) => {
      console.log(`${table.padEnd(16)}${String(count).padStart(12)} rows`);
    });
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return EXIT_FAILED;
  }
  console.log("Copied; every table has as many rows in MySQL. Start the nodes with --mysql.");
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));

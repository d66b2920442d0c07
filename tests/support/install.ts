/**
 * Installs what the tests need and this machine lacks (Debian, root), before any of them runs:
 * test files run side by side, and one would find half of what another is just installing.
 */

import { ensureServices } from "../../server/cluster/install.ts";
import { ensureTmux } from "./client_terminal.ts";

await ensureServices({ install: true });
await ensureTmux();

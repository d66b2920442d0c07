/** Defects that the simulation must notice; see the tests. */

import type { SessionHost } from "../../actors/session_host.ts";
import type { World } from "./world.ts";

/** One way of breaking the mechanism, in the harness only. */
export interface Mutation {
  readonly name: string;
  /** Recipients do not recognise repeats. */
  readonly noDedupe?: boolean;
  /** Changes the world before anything runs. */
  world?(world: World): void;
  /** Changes each session worker before it starts. */
  host?(host: SessionHost): void;
}

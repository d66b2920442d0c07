/**
 * `--workers 0`: store, passwords and sessions as actor systems of their own in this one thread,
 * over links that hand payloads over by reference. The same actors, for small hosts and for tests
 * that need one thread and their own clock.
 */

import { argon2, type Argon2Cost } from "../actors/adapters/argon2.ts";
import { loadTracer } from "../actors/adapters/load_tracer.ts";
import { openStore } from "../actors/adapters/open_store.ts";
import type { InLane } from "../actors/lane.ts";
import { inlinePorts, type PortLike, type ThreadId } from "../actors/link.ts";
import { PasswordActor, type PasswordMessage } from "../actors/passwords.ts";
import type { Clock } from "../actors/ports.ts";
import { workerThread } from "../actors/router.ts";
import { ActorSystem } from "../actors/runtime.ts";
import { SessionHost } from "../actors/session_host.ts";
import type { SessionWorkerOptions } from "../actors/session_worker.ts";
import type { StoreWorkerOptions } from "../actors/store_options.ts";
import { startStore } from "../actors/store_service.ts";
import { Meter } from "../actors/meter.ts";
import type { Log } from "./log.ts";
import { PASSWORD_THREAD, STORE_THREAD } from "./node.ts";

/** What the inline actors are made of. */
export interface InlineParts {
  /** The main actor system. */
  readonly system: ActorSystem;
  readonly clock: Clock;
  readonly storeOptions: StoreWorkerOptions;
  readonly passwordCost: Argon2Cost;
  /** The token key, once the store answers. */
  readonly secret: () => Promise<string>;
  readonly workerOptions: (tokenKey: string) => SessionWorkerOptions;
  readonly linkSessions: (port: PortLike) => void;
  readonly log: Log;
}

/** Starts them; returns what stops them. Rejects with one sentence when the store cannot open. */
export async function startInline(parts: InlineParts): Promise<() => Promise<void>> {
  const { system: main, clock, log } = parts;
  const later = queueMicrotask;
  const make = (thread: ThreadId) =>
    new ActorSystem(thread, clock, {
      onDeadLetter: (to) => log.debug("dead letter", { to }),
      onCrash: (name, error, delayMs) =>
        log.error("actor failed", { name, delayMs, error: String(error) }),
      onGiveUp: (name, error) => {
        log.error("actor failed for good", { name, error: String(error) });
        queueMicrotask(() => {
          throw error;
        });
      },
    }, later);
  const storeSystem = make(STORE_THREAD);
  const passwordSystem = make(PASSWORD_THREAD);
  const sessionSystem = make(workerThread(0));
  const connect = (a: ActorSystem, b: ActorSystem) => {
    const [left, right] = inlinePorts(later);
    a.link(b.thread, left);
    b.link(a.thread, right);
  };

  const { database, maxPending } = parts.storeOptions;
  const port = await openStore(database, maxPending);
  const meters = [storeSystem, passwordSystem, sessionSystem].map((system) => {
    const meter = new Meter();
    system.spawn("meter", () => ({ receive: () => meter.snapshot() }));
    return meter;
  });
  const [storeMeter = new Meter(), , sessionMeter = new Meter()] = meters;
  startStore(
    storeSystem,
    port,
    parts.storeOptions,
    storeMeter,
    (text, error) => log.error(text, { error: String(error) }),
  );
  passwordSystem.spawn<PasswordMessage>(
    "passwords",
    () => new PasswordActor(argon2(parts.passwordCost)),
  );
  connect(main, storeSystem);
  connect(main, passwordSystem);
  connect(sessionSystem, storeSystem);
  connect(sessionSystem, passwordSystem);

  const workerOptions = parts.workerOptions(await parts.secret());
  const host = new SessionHost(sessionSystem, {
    ...workerOptions,
    tracer: await loadTracer(workerOptions.traceOneIn),
    later,
    meter: sessionMeter,
    log: (text, error, conn) => log.error(text, { error: String(error), conn }),
  });
  const [mainSide, sessionSide] = inlinePorts(later);
  const link = sessionSystem.link(0, sessionSide, (lane) => host.receiveLane(lane as InLane));
  parts.linkSessions(mainSide);
  host.start(link);
  return async () => {
    host.stop();
    await storeSystem.stop("upkeep");
    await storeSystem.stop("store");
    for (const each of [sessionSystem, passwordSystem, storeSystem]) each.close();
  };
}

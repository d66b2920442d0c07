/** The tracer that the settings ask for. OpenTelemetry is loaded only where it is used. */

import { MessageTracer } from "../observe/tracing.ts";

/** @param oneIn One message in so many is traced; 0: none. */
export async function loadTracer(oneIn = 0): Promise<MessageTracer | undefined> {
  if (oneIn === 0) return undefined;
  const { openTracer } = await import("./otel.ts");
  return new MessageTracer(openTracer(), oneIn);
}

/**
 * Makes the profile of a user who logs in for the first time.
 */

import type { Session } from "../library/events.ts";
import type { ProfileData } from "./profile.ts";

/** A profile of a session, with every option at its default. */
export function freshProfile(
  place: {
    readonly host?: string | undefined;
    readonly port?: number | undefined;
    readonly tls: boolean;
    readonly ca: string | undefined;
  },
  session: Session,
  device: string,
): ProfileData {
  return {
    version: 1,
    host: place.host ?? "127.0.0.1",
    port: place.port ?? 6000,
    tls: place.tls,
    ...(place.ca !== undefined && { ca: place.ca }),
    name: session.name,
    id: session.id,
    device,
    token: session.token,
    open: [],
    unread: {},
    friends: [],
    groups: [],
    bell: true,
    notify: true,
    typing: true,
  };
}

/** Addresses as limits count them. */

import { assertEquals } from "@std/assert";
import { networkOf } from "../../server/settings/ip_address.ts";

Deno.test("a limit per address counts IPv4 by address, IPv6 by its /64, loopback as one host", () => {
  const cases = {
    "192.0.2.7": "192.0.2.7",
    "::ffff:192.0.2.7": "192.0.2.7",
    "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
    "2001:db8:1:2:ffff::1": "2001:db8:1:2::",
    "2001:db8:1:3::1": "2001:db8:1:3::",
    "::1": "::1",
    "": "",
  };

  const counted = Object.keys(cases).map((address) => [address, networkOf(address)]);
  assertEquals(Object.fromEntries(counted), cases);
});

/**
 * TLS settings from flags or a profile.
 */

/** What is given on the command line wins over what the profile remembers. */
export async function readTls(
  flags: { readonly tls: boolean; readonly ca: string | undefined },
  saved: { readonly tls?: boolean; readonly ca?: string | undefined } | undefined,
): Promise<{ caCerts?: string[] } | undefined> {
  const file = flags.ca ?? (flags.tls ? undefined : saved?.ca);
  if (!flags.tls && saved?.tls !== true) return undefined;
  return file === undefined ? {} : { caCerts: [await Deno.readTextFile(file)] };
}

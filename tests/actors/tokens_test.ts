import { assertEquals, assertNotEquals } from "@std/assert";
import fc from "fast-check";
import { newTokenKey, TokenSigner } from "../../actors/accounts/tokens.ts";

const NOW = 1_700_000_000_000;

Deno.test("a token says whose it is until it expires", () => {
  const signer = new TokenSigner(newTokenKey());
  const { token, tokenId } = signer.issue(7, NOW + 1_000);
  assertEquals(signer.check(token, NOW), { user: 7, tokenId, expires: NOW + 1_000 });
  assertEquals(signer.check(token, NOW + 999)?.user, 7);
  assertEquals(signer.check(token, NOW + 1_000), undefined);
});

Deno.test("another node with the same key checks it; another key refuses it", () => {
  const key = newTokenKey();
  const { token } = new TokenSigner(key).issue(7, NOW + 1_000);
  assertEquals(new TokenSigner(key).check(token, NOW)?.user, 7);
  assertEquals(new TokenSigner(newTokenKey()).check(token, NOW), undefined);
});

Deno.test("two tokens of one user differ", () => {
  const signer = new TokenSigner(newTokenKey());
  assertNotEquals(signer.issue(7, NOW).token, signer.issue(7, NOW).token);
});

Deno.test("a token with any change of what it says or of its signature is refused", () => {
  const signer = new TokenSigner(newTokenKey());
  const { token, tokenId } = signer.issue(7, NOW + 1_000);
  const claims = { user: 7, tokenId, expires: NOW + 1_000 };
  fc.assert(
    fc.property(fc.nat(token.length - 1), fc.string({ maxLength: 2, unit: "binary" }), (at, by) => {
      const changed = token.slice(0, at) + by + token.slice(at + 1);
      const said = signer.check(changed, NOW);
      // The last character of base64url holds bits that mean nothing: it may say the same.
      if (said !== undefined) assertEquals(said, claims);
      if (changed.slice(0, changed.lastIndexOf(".")) !== token.slice(0, token.lastIndexOf("."))) {
        assertEquals(said, undefined);
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("text that is no token is refused", () => {
  const signer = new TokenSigner(newTokenKey());
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      assertEquals(signer.check(text, NOW), undefined);
    }),
  );
  for (const text of ["", ".", "...", "....", "7..x.", "7.a.9999999999999."]) {
    assertEquals(signer.check(text, NOW), undefined, text);
  }
});

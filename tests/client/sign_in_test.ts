import { assertEquals } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import { connect } from "../../client/mod.ts";
import { signIn } from "../../client/terminal/sign_in.ts";
import { PeerListener } from "../support/client_peer.ts";

/** The dialogue of `--name alice`, with these answers; and all that it says and asks. */
function aliceSignsIn(port: number, ...answers: string[]) {
  return signsIn(port, false, ...answers);
}

function signsIn(port: number, register: boolean, ...answers: string[]) {
  const dialogue: string[] = [];
  const signedIn = signIn({
    ask: (question) => {
      dialogue.push(question);
      return Promise.resolve(answers.shift());
    },
    say: (text) => dialogue.push(text),
    connect: (place) => connect(place),
    place: { host: "127.0.0.1", port },
    placeIsGiven: true,
    name: "alice",
    password: undefined,
    register,
  });
  return { signedIn, dialogue };
}

Deno.test("a server that goes between a new account and its login is told of, and the login asked for again", async () => {
  using listener = new PeerListener();
  const { signedIn, dialogue } = aliceSignsIn(listener.port, "secret", "y", "secret", "secret");
  {
    await using peer = await listener.accept();
    const login = await peer.expect(MSGID.LOGIN);
    await peer.send({ msgid: MSGID.LOGIN_ACK, errno: 1, errmsg: "unknown", req: login.req });
    const register = await peer.expect(MSGID.REGISTER);
    await peer.send({ msgid: MSGID.REGISTER_ACK, errno: 0, id: 1, req: register.req });
    await peer.expect(MSGID.LOGIN);
  }
  await using again = await listener.accept();
  await again.logIn();
  const result = await signedIn;

  assertEquals(typeof result === "string" ? result : result.session.name, "alice");
  assertEquals(dialogue.filter((text) => text.startsWith("Password for")).length, 2);
  assertEquals(dialogue.length, 6);
  if (typeof result !== "string") await result.client.close();
});

Deno.test("an empty password asks for the name again, so that somebody else can log in", async () => {
  using listener = new PeerListener();
  const { signedIn, dialogue } = aliceSignsIn(listener.port, "", "bob", "secret");
  await using peer = await listener.accept();
  const { name } = await peer.logIn({ id: 2, name: "bob" });
  const result = await signedIn;

  assertEquals(dialogue.filter((text) => text.endsWith(": ")), [
    "Password for alice: ",
    "Your name: ",
    "Password for bob: ",
  ]);
  assertEquals(name, "bob");
  if (typeof result !== "string") await result.client.close();
});

Deno.test("--register makes the account without a question, and one that is there is logged in to", async () => {
  for (const errno of [0, 1]) {
    using listener = new PeerListener();
    const { signedIn, dialogue } = signsIn(listener.port, true, "secret");
    await using peer = await listener.accept();
    const register = await peer.expect(MSGID.REGISTER);
    await peer.send({
      ...{ msgid: MSGID.REGISTER_ACK, errno, req: register.req },
      ...(errno === 0 ? { id: 1 } : { errmsg: "taken" }),
    });
    await peer.logIn();
    const result = await signedIn;

    assertEquals(register.name, "alice");
    assertEquals(dialogue, ["Password for alice: "]);
    if (typeof result !== "string") await result.client.close();
  }
});

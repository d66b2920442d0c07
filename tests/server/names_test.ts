/** What a new name may be. */

import { assertEquals, assertMatch } from "@std/assert";
import { Name } from "@chat/wire/messages.ts";

/** Why a name is refused; undefined when it is taken. */
function refusal(name: string): string | undefined {
  const parsed = Name.safeParse(name);
  return parsed.success ? undefined : parsed.error.issues[0]?.message;
}

Deno.test("honest names of every script pass", () => {
  for (
    const name of [
      ..."alice Zoë O'Brien Jean-Luc user_1 Łukasz Nguyễn Þór İpek ß 2pac 10cc e3 x²".split(" "),
      ..."Ольга Ђорђе Їжак Ελένη Αλέξανδρος Արամ გიორგი דָּוִד محمد زهرا سلیمان ደስታ".split(" "),
      ..."अर्जुन আনন্দ ਹਰਪ੍ਰੀਤ ગીતા தமிழ் తెలుగు ಕನ್ನಡ മലയാളം සිංහල สมชาย ລາວ မြန်မာ ខ្មែរ བཀྲ་ཤིས".split(" "),
      ..."李雷 山田太郎 さくら ユーキ 山田さん 高橋みなみ 김철수 ㄅㄆㄇ Tシャツ K팝 佐々木 アリス2世"
        .split(" "),
      ..."ᏣᎳᎩ ᐃᓄᒃᑎᑐᑦ ᠮᠣᠩᠭᠣᠯ ދިވެހި ꦗꦮ ⵜⵉⴼⵉⵏⴰⵖ 😀 ★ Anna-Ольга alice★".split(" "),
      "Anna Ольга",
      "team 7",
      "Ольга 2",
      "C# fans",
      "me@home",
      "Infinity",
    ]
  ) assertEquals(refusal(name), undefined, name);
});

Deno.test("a name is no number, and no mark of the commands", () => {
  const numbers = "12 0 007 -1 +5 1e3 1.5 .5 0x1f ١٢ १२ １２ ½ Ⅻ".split(" ");
  for (const name of [...numbers, "1 2"]) assertMatch(refusal(name) ?? "", /is a number/, name);
  for (const name of ["#group", "@bob", "＃group", "＠bob", "﹟g", "﹫b", "#", "@"]) {
    assertMatch(refusal(name) ?? "", /begins with # or @/, name);
  }
});

Deno.test("a word has letters of one script, but where they are written together", () => {
  const mixed =
    "аlice aliсe Ольгa pаypal αlice Αlice ΑВС миp aլice googlе Ꭺlice あлиса 김Ольга さ김 아さ";
  for (const name of [...mixed.split(" "), "the аdmin", "x-аlice"]) {
    assertMatch(refusal(name) ?? "", /several scripts/, name);
  }
});

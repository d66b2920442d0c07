/**
 * What a new name may be, beyond its characters: nothing that passes for a number or a mark of the
 * commands, and no word of several scripts, as its letters would pass for others. Which names look
 * alike, the store decides. Source: Unicode Technical Standard 39, "highly restrictive", with any
 * script by itself.
 */

/** Scripts that letters are told apart by: those of Unicode that this runtime knows. */
const SCRIPTS = [
  "Adlam",
  "Arabic",
  "Armenian",
  "Balinese",
  "Bamum",
  "Batak",
  "Bengali",
  "Bopomofo",
  "Buginese",
  "Canadian_Aboriginal",
  "Chakma",
  "Cham",
  "Cherokee",
  "Coptic",
  "Cyrillic",
  "Deseret",
  "Devanagari",
  "Ethiopic",
  "Georgian",
  "Glagolitic",
  "Gothic",
  "Greek",
  "Gujarati",
  "Gurmukhi",
  "Han",
  "Hangul",
  "Hanifi_Rohingya",
  "Hebrew",
  "Hiragana",
  "Javanese",
  "Kannada",
  "Katakana",
  "Kayah_Li",
  "Khmer",
  "Lao",
  "Latin",
  "Lepcha",
  "Limbu",
  "Lisu",
  "Malayalam",
  "Mandaic",
  "Meetei_Mayek",
  "Mongolian",
  "Myanmar",
  "New_Tai_Lue",
  "Newa",
  "Nko",
  "Ol_Chiki",
  "Old_Italic",
  "Oriya",
  "Osage",
  "Osmanya",
  "Runic",
  "Samaritan",
  "Saurashtra",
  "Sinhala",
  "Sundanese",
  "Syloti_Nagri",
  "Syriac",
  "Tai_Le",
  "Tai_Tham",
  "Tai_Viet",
  "Tamil",
  "Telugu",
  "Thaana",
  "Thai",
  "Tibetan",
  "Tifinagh",
  "Tirhuta",
  "Vai",
  "Wancho",
  "Yi",
] as const;
/** Scripts that are written together: Japanese, Chinese and Korean, with Latin letters. */
const TOGETHER: readonly (readonly string[])[] = [
  ["Latin", "Han", "Hiragana", "Katakana"],
  ["Latin", "Han", "Bopomofo"],
  ["Latin", "Han", "Hangul"],
];

const WORD = /[\p{L}\p{M}\p{N}]+/gu;
const NUMBERS = /^[\p{N}\s]+$/u;
const ASCII = /^[\x20-\x7e]*$/;
const ONE_OF: readonly RegExp[] = [
  ...TOGETHER,
  ...SCRIPTS.map((script) => [script]),
].map((scripts) => {
  const classes = ["Common", "Inherited", ...scripts].map((name) => `\\p{scx=${name}}`);
  return new RegExp(`^[${classes.join("")}]*$`, "u");
});
/** What is of none of the scripts above: one of the rare others, by itself. */
const RARE = new RegExp(`^[^${SCRIPTS.map((name) => `\\p{sc=${name}}`).join("")}]*$`, "u");

/** Why a name may not be given to a user or group; undefined when it may. */
export function wrongName(name: string): string | undefined {
  const plain = name.normalize("NFKC");
  if (/^[#@]/.test(plain)) return "begins with # or @";
  if (NUMBERS.test(name) || NUMBERS.test(plain) || Number.isFinite(Number(plain))) {
    return "is a number";
  }
  for (const [word] of ASCII.test(plain) ? [] : plain.matchAll(WORD)) {
    const isOfOne = RARE.test(word) || ONE_OF.some((scripts) => scripts.test(word));
    if (!isOfOne) return "has a word with letters of several scripts";
  }
  return undefined;
}

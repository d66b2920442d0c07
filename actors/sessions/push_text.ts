/**
 * The text of a chat message as its recipient gets it. Built once per message and version,
 * however many recipients there are; sender, name and time come from the server alone (G8).
 */

import { MSGID } from "@chat/wire/messages.ts";
import type { Message } from "../ports.ts";

/** ONE_CHAT or GROUP_CHAT for a v2 session, without the final newline. */
export function pushTextV2(m: Message): string {
  return `{"msgid":${m.groupid === 0 ? MSGID.ONE_CHAT : MSGID.GROUP_CHAT},${fieldsV2(m)}}`;
}

/** A message in HISTORY_ACK. */
export function historyText(m: Message): string {
  return `{${fieldsV2(m)}}`;
}

function fieldsV2(m: Message): string {
  const target = m.groupid === 0 ? `"toid":${m.toid}` : `"groupid":${m.groupid}`;
  return `"mid":"${m.mid}","cid":${JSON.stringify(m.cid)},"id":${m.from},` +
    `"name":${JSON.stringify(m.name)},"ts":${m.ts},${target},"msg":${JSON.stringify(m.msg)}`;
}

/**
 * ONE_CHAT or GROUP_CHAT for a v1 session: what a v1 sender wrote, with the sender's true `id`
 * and `name`; from a v2 sender, the same fields made up (`to` and `toid`, as clients differ).
 */
export function pushTextV1(m: Message): string {
  const msgid = m.groupid === 0 ? MSGID.ONE_CHAT : MSGID.GROUP_CHAT;
  const head = `{"msgid":${msgid},"id":${m.from},"name":${JSON.stringify(m.name)},` +
    `"msg":${JSON.stringify(m.msg)}`;
  if (m.extra.length > 2) return `${head},${m.extra.slice(1)}`;
  const target = m.groupid === 0 ? `"to":${m.toid},"toid":${m.toid}` : `"groupid":${m.groupid}`;
  return `${head},${target},"time":"${classicTime(m.ts)}"}`;
}

/**
 * The same in pieces of at most `mostBytes` each, in order: classic clients read so much at a time and
 * take it for one object. Each piece is a message of its own with a part of the text, cut between
 * characters; the other fields are what this server would make up where the sender's own are long.
 *
 * @param mostBytes Of UTF-8; 0: one piece, however long. A piece has one character at least.
 */
export function piecesV1(m: Message, mostBytes: number): string[] {
  const whole = pushTextV1(m);
  if (mostBytes === 0 || utf8Length(whole) <= mostBytes) return [whole];
  const extra = utf8Length(m.extra) > mostBytes / 2 ? "" : m.extra;
  const room = mostBytes - utf8Length(pushTextV1({ ...m, extra, msg: "" }));
  const pieces: string[] = [];
  let [start, end, bytes] = [0, 0, 0];
  for (const character of m.msg) {
    const length = utf8Length(JSON.stringify(character)) - 2;
    if (bytes + length > room && end > start) {
      pieces.push(m.msg.slice(start, end));
      [start, bytes] = [end, 0];
    }
    end += character.length;
    bytes += length;
  }
  pieces.push(m.msg.slice(start));
  return pieces.map((msg) => pushTextV1({ ...m, extra, msg }));
}

/** Bytes of a text in UTF-8. */
export function utf8Length(text: string): number {
  let length = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    // Each half of a pair counts two, a lone half is sent as three.
    length += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return length;
}

/** `YYYY-MM-DD HH:MM:SS` in the server's time zone, as classic clients write it. */
export function classicTime(ts: number): string {
  const d = new Date(ts);
  const two = (n: number) => String(n).padStart(2, "0");
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ` +
    `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

const MAX_SHOWN = 80;
/** Controls, format characters (bidi, zero-width), unassigned and private code points, and letters that show nothing. */
const INVISIBLE =
  /\p{C}|\u034f|[\u115f\u1160]|[\u17b4\u17b5]|[\u180b-\u180f]|\u3164|\uffa0|[\ufe00-\ufe0f]/gu;

/** A stranger's name as we are willing to show it: one line, nothing invisible, 80 characters (CB-16). */
export function shownName(name: string): string {
  const plain = name
    .normalize("NFC")
    .replace(/[\t-\r\p{Z}]/gu, " ")
    .replace(INVISIBLE, "")
    .replace(/ {2,}/g, " ")
    .trim();
  const characters = [...plain];
  return characters.length <= MAX_SHOWN ? plain : `${characters.slice(0, MAX_SHOWN - 1).join("")}…`;
}

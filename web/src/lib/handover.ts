/*
 * The list hands the reader what it already knows, so that the reader's first request is for pixels.
 * Kept for this tab alone; read once, since a study may have grown by the next time.
 */
const KEY = 'garonne.handover';

export function handOver(uid: string, index: string): void {
  try {
    sessionStorage.setItem(KEY, `${uid}\n${index}`);
  } catch {
    sessionStorage.removeItem(KEY); // too large: the reader asks for it
  }
}

export function takeHandover(uid: string): string | undefined {
  const s = sessionStorage.getItem(KEY);
  sessionStorage.removeItem(KEY);
  return s?.startsWith(`${uid}\n`) ? s.slice(uid.length + 1) : undefined;
}

/** Where the list was left, to come back to the same row. */
export const LIST_PLACE = 'garonne.list';

/* DICOM values as people read them. */

/** "DUPONT^JEAN^PAUL^DR" → "DUPONT Jean Paul"; the alphabetic group, else the first that says anything. */
export function personName(pn: string | undefined): string {
  const group = (pn ?? '').split('=').find((g) => g.replace(/\^/g, '').trim() !== '') ?? '';
  const [family = '', given = '', middle = ''] = group.split('^').map((s) => s.trim());
  return [family, capitals(given), capitals(middle)].filter((s) => s !== '').join(' ');
}

function capitals(s: string): string {
  if (s !== s.toUpperCase()) return s;
  return s.toLocaleLowerCase('fr').replace(/(^|[\s'’-])(\p{L})/gu, (_, a: string, b: string) => a + b.toLocaleUpperCase('fr'));
}

/** DA to a Date at local midnight. */
export function dicomDate(da: string | undefined): Date | undefined {
  const m = /^(\d{4})\.?(\d{2})\.?(\d{2})$/.exec(da ?? '');
  if (!m) return undefined;
  const d = new Date(Number(m[1]), Number(m[2]) - 1, Number(m[3]));
  return d.getMonth() === Number(m[2]) - 1 ? d : undefined;
}

export function dateText(da: string | undefined, lang: string): string {
  const d = dicomDate(da);
  return d ? d.toLocaleDateString(lang === 'fr' ? 'fr-FR' : 'en-GB') : (da ?? '');
}

export function timeText(tm: string | undefined): string {
  const m = /^(\d{2}):?(\d{2})/.exec(tm ?? '');
  return m ? `${m[1]}:${m[2]}` : '';
}

/** Age at a date in whole years, or in months and days for the small ones. */
export function age(birth: string | undefined, at: string | undefined): { n: number; unit: 'y' | 'm' | 'd' } | undefined {
  const b = dicomDate(birth);
  const a = dicomDate(at) ?? new Date();
  if (!b || a < b) return undefined;
  const months = (a.getFullYear() - b.getFullYear()) * 12 + a.getMonth() - b.getMonth() - (a.getDate() < b.getDate() ? 1 : 0);
  if (months >= 24) return { n: Math.floor(months / 12), unit: 'y' };
  if (months >= 1) return { n: months, unit: 'm' };
  return { n: Math.floor((a.getTime() - b.getTime()) / 86400000), unit: 'd' };
}

/** Date to DA. */
export function toDicomDate(d: Date): string {
  return `${d.getFullYear()}${String(d.getMonth() + 1).padStart(2, '0')}${String(d.getDate()).padStart(2, '0')}`;
}

/* The list's question: kept in the address, so that reload, back and a link to a colleague work. */
import { toDicomDate } from '../lib/dicom';

export const PAGE = 50;

export const PERIODS = ['all', 'today', 'yesterday', 'week', 'month', 'range'] as const;
export type Period = (typeof PERIODS)[number];

export interface Question {
  q: string;
  period: Period;
  from: string; // YYYY-MM-DD, of the period "range"
  to: string;
  modality: string;
  sort: string; // "-date"
  page: number; // from 0
}

export const EVERYTHING: Question = { q: '', period: 'all', from: '', to: '', modality: '', sort: '-date', page: 0 };

export function fromAddress(search: string): Question {
  const p = new URLSearchParams(search);
  const period = p.get('period') as Period;
  return {
    q: p.get('q') ?? '',
    period: PERIODS.includes(period) ? period : 'all',
    from: p.get('from') ?? '',
    to: p.get('to') ?? '',
    modality: p.get('modality') ?? '',
    sort: /^-?[a-z]+$/.test(p.get('sort') ?? '') ? p.get('sort')! : '-date',
    page: Math.max(0, Math.min(39, Number(p.get('page') ?? '1') - 1 || 0)),
  };
}

export function toAddress(x: Question): string {
  const p = new URLSearchParams();
  if (x.q) p.set('q', x.q);
  if (x.period !== 'all') p.set('period', x.period);
  if (x.period === 'range' && x.from) p.set('from', x.from);
  if (x.period === 'range' && x.to) p.set('to', x.to);
  if (x.modality) p.set('modality', x.modality);
  if (x.sort !== '-date') p.set('sort', x.sort);
  if (x.page > 0) p.set('page', String(x.page + 1));
  const s = p.toString();
  return s === '' ? '' : `?${s}`;
}

function dates(x: Question, now: Date): string {
  const ago = (days: number) => toDicomDate(new Date(now.getFullYear(), now.getMonth(), now.getDate() - days));
  switch (x.period) {
    case 'all':
      return '';
    case 'today':
      return ago(0);
    case 'yesterday':
      return ago(1);
    case 'week':
      return `${ago(6)}-${ago(0)}`;
    case 'month':
      return `${ago(29)}-${ago(0)}`;
    case 'range': {
      const [a, b] = [x.from.replaceAll('-', ''), x.to.replaceAll('-', '')];
      return a || b ? `${a}-${b}` : '';
    }
  }
}

/** As the server wants it. */
export function toApi(x: Question, now = new Date()): string {
  const p = new URLSearchParams({ sort: x.sort, offset: String(x.page * PAGE), limit: String(PAGE) });
  if (x.q.trim()) p.set('q', x.q.trim());
  const d = dates(x, now);
  if (d) p.set('date', d);
  if (x.modality) p.set('modality', x.modality);
  return p.toString();
}

export function isFiltered(x: Question): boolean {
  return x.q.trim() !== '' || x.period !== 'all' || x.modality !== '';
}

/** The order after a click on a column's head: dates and counts begin with the largest. */
export function nextSort(sort: string, column: string): string {
  const first = column === 'date' || column === 'images' ? `-${column}` : column;
  const other = first.startsWith('-') ? column : `-${column}`;
  return sort === first ? other : first;
}

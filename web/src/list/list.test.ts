import { describe, expect, it } from 'vitest';
import { age, dateText, dicomDate, personName, timeText } from '../lib/dicom';
import { EVERYTHING, fromAddress, nextSort, toAddress, toApi } from './query';

describe('names and dates', () => {
  it('are written as people write them', () => {
    expect(personName('LEFÈVRE^ÉLODIE')).toBe('LEFÈVRE Élodie');
    expect(personName("N'GUYEN^Thanh Hà")).toBe("N'GUYEN Thanh Hà");
    expect(personName('DE LA TOUR^JEAN-PAUL^MARIE')).toBe('DE LA TOUR Jean-Paul Marie');
    expect(personName('^^^')).toBe('');
    expect(personName('=山田^太郎=やまだ^たろう')).toBe('山田 太郎');
    expect(dateText('20260912', 'fr')).toBe('12/09/2026');
    expect(dateText('2026.09.12', 'fr')).toBe('12/09/2026');
    expect(dateText('garbage', 'fr')).toBe('garbage');
    expect(timeText('083015.123')).toBe('08:30');
    expect(dicomDate('20260231')).toBeUndefined();
  });

  it('give ages in the unit that matters', () => {
    expect(age('19720314', '20260912')).toEqual({ n: 54, unit: 'y' });
    expect(age('20260101', '20260912')).toEqual({ n: 8, unit: 'm' });
    expect(age('20260901', '20260912')).toEqual({ n: 11, unit: 'd' });
    expect(age('20270101', '20260912')).toBeUndefined();
  });
});

describe('the question', () => {
  it('survives the address', () => {
    const q = { ...EVERYTHING, q: 'dupont é', period: 'range' as const, from: '2026-01-01', to: '2026-02-01', modality: 'CT', sort: 'name', page: 2 };
    expect(fromAddress(toAddress(q))).toEqual(q);
    expect(toAddress(EVERYTHING)).toBe('');
  });

  it('does not take what an address must not say', () => {
    expect(fromAddress('?sort=%27x&period=never&page=-4')).toEqual(EVERYTHING);
  });

  it('reaches the server as DICOM dates', () => {
    const now = new Date(2026, 10, 24);
    const date = (part: object) => new URLSearchParams(toApi({ ...EVERYTHING, ...part }, now)).get('date');
    expect(date({ period: 'today' })).toBe('20261124');
    expect(date({ period: 'week' })).toBe('20261118-20261124');
    expect(date({ period: 'range', from: '2026-01-02' })).toBe('20260102-');
    expect(date({ period: 'all' })).toBeNull();
  });

  it('turns the order at the second click', () => {
    expect(nextSort('-date', 'date')).toBe('date');
    expect(nextSort('date', 'name')).toBe('name');
    expect(nextSort('name', 'name')).toBe('-name');
  });
});

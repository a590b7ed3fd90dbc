/*
 * The lean instance index as objects: series, and their frames in the order in which people scroll.
 */

export interface Facts {
  number?: number;
  frames?: number;
  rows?: number;
  cols?: number;
  samples?: number;
  photo?: string;
  planar?: number;
  alloc?: number;
  stored?: number;
  signed?: number;
  padding?: number;
  slope?: number;
  icept?: number;
  wc?: number;
  ww?: number;
  voi?: string;
  shape?: string;
  spacing?: number[];
  pos?: number[];
  orient?: number[];
  lossy?: string;
  time?: string;
  syntax?: string;
  class?: string;
}

interface RawSeries {
  uid: string;
  number?: string;
  modality?: string;
  description?: string;
  body?: string;
  prefix: string;
  sop: string[];
  all: Facts;
  each: { [K in keyof Facts]?: (Facts[K] | null)[] };
}

interface RawStudy {
  uid: string;
  date?: string;
  time?: string;
  description?: string;
  accession?: string;
  name?: string;
  pid?: string;
  birth?: string;
  sex?: string;
  series: RawSeries[];
}

export interface Frame {
  sop: string;
  frame: number; // from 1
  facts: Facts;
  place?: number; // along the normal, mm
}

export interface Series {
  uid: string;
  number: string;
  modality: string;
  description: string;
  body: string;
  frames: Frame[];
  objects: number; // that are not images (reports, presentation states …)
}

export interface Study extends Omit<RawStudy, 'series'> {
  series: Series[];
}

function factsOf(s: RawSeries, i: number): Facts {
  const f: Record<string, unknown> = { ...s.all };
  for (const [key, values] of Object.entries(s.each)) {
    const v = (values as unknown[])[i];
    if (v !== null && v !== undefined) f[key] = v;
  }
  return f;
}

/** Distance along the normal of the slice's plane. */
export function placeOf(f: Facts): number | undefined {
  const p = f.pos;
  const o = f.orient;
  if (p?.length !== 3 || o?.length !== 6) return undefined;
  const [a, b, c, d, e, g] = o as [number, number, number, number, number, number];
  return p[0]! * (b * g - c * e) + p[1]! * (c * d - a * g) + p[2]! * (a * e - b * d);
}

function sameOrient(a: Facts, b: Facts): boolean {
  return !!a.orient && !!b.orient && a.orient.every((v, i) => Math.abs(v - (b.orient?.[i] ?? 9)) < 1e-3);
}

/** By place when all slices are parallel and no two share one; else by instance number. */
function inOrder(frames: Frame[]): Frame[] {
  const first = frames[0];
  const places = new Set<number>();
  const spatial =
    first !== undefined &&
    frames.every((f) => {
      if (f.place === undefined || f.frame !== 1 || !sameOrient(f.facts, first.facts)) return false;
      const fresh = !places.has(f.place);
      places.add(f.place);
      return fresh;
    });
  const number = (f: Frame) => f.facts.number ?? Number.MAX_SAFE_INTEGER;
  const byNumber = (a: Frame, b: Frame) => number(a) - number(b) || a.frame - b.frame;
  if (!spatial) return frames.sort(byNumber);
  const sorted = [...frames].sort((a, b) => a.place! - b.place!);
  // The way the numbers run: from the first image on.
  const down = sorted.length > 1 && byNumber(sorted[0]!, sorted[sorted.length - 1]!) > 0;
  return down ? sorted.reverse() : sorted;
}

function seriesOf(s: RawSeries): Series {
  const frames: Frame[] = [];
  let objects = 0;
  s.sop.forEach((suffix, i) => {
    const facts = factsOf(s, i);
    if (!facts.rows || !facts.cols) {
      objects++;
      return;
    }
    const place = placeOf(facts);
    for (let k = 1; k <= Math.max(1, facts.frames ?? 1); k++) {
      frames.push({ sop: s.prefix + suffix, frame: k, facts, ...(place !== undefined && { place }) });
    }
  });
  return {
    uid: s.uid,
    number: s.number ?? '',
    modality: s.modality ?? '',
    description: s.description ?? '',
    body: s.body ?? '',
    frames: inOrder(frames),
    objects,
  };
}

export function parseStudy(json: string): Study {
  const raw = JSON.parse(json) as RawStudy;
  const series = raw.series.map(seriesOf);
  const number = (s: Series) => (s.number === '' ? Number.MAX_SAFE_INTEGER : Number(s.number));
  series.sort((a, b) => number(a) - number(b) || a.uid.localeCompare(b.uid));
  return { ...raw, series };
}

/** What is shown first: the first series of images that is not a localizer, at its middle when it is a stack. */
export function firstView(study: Study): { series: number; frame: number } | undefined {
  let best = -1;
  study.series.forEach((s, i) => {
    if (s.frames.length > 0 && (best < 0 || (study.series[best]!.frames.length < 4 && s.frames.length >= 4))) best = i;
  });
  if (best < 0) return undefined;
  const s = study.series[best]!;
  const stack = s.frames.length > 3 && s.frames[0]!.place !== undefined;
  return { series: best, frame: stack ? s.frames.length >> 1 : 0 };
}

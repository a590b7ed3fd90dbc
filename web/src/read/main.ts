/*
 * The first-image reader: shows pixels before anything else, says what they are worth, then hands over
 * to the full viewer at the same slice and window.
 */
import { age, dateText, personName, timeText } from '../lib/dicom';
import { takeHandover } from '../lib/handover';
import { Frames } from './frames';
import { FullViewer, type Place } from './full';
import { type Frame, firstView, parseStudy, type Series, type Study } from './model';
import { firstWindow, type Pixels } from './pixels';
import { wayOf } from './syntax';
import { View } from './view';
import { lang, say, words } from './words';

const $ = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const uid = decodeURIComponent(location.pathname.replace(/^\/read\//, ''));

/** Windows that people know by heart: width, centre. */
const PRESETS: [number, number][] = [
  [400, 40],
  [1500, -600],
  [2000, 300],
  [80, 40],
  [350, 50],
  [150, 60],
];

const NOTHING: Series = { uid: '', number: '', modality: '', description: '', body: '', frames: [], objects: 0 };

class Reader {
  study: Study = { uid, series: [] };
  at = { series: 0, frame: 0 };
  direction = 1;
  view = new View($<HTMLCanvasElement>('image'));
  frames: Frames;
  full: FullViewer;
  private seriesOf = new Map<string, string>();
  private windows = new Map<string, { centre: number; width: number }>(); // that people chose, by series
  private cine = 0;
  private firstSeen = false;
  private firstExact = false;

  constructor() {
    this.frames = new Frames(
      uid,
      (f) => this.seriesOf.get(f.sop) ?? '',
      (f) => this.frameChanged(f),
    );
    this.full = new FullViewer($('full'), uid, () => this.fullShown(), () => this.closeFull());
    this.view.painted = () => this.painted();
  }

  get series(): Series {
    return this.study.series[this.at.series] ?? NOTHING;
  }

  get frame(): Frame | undefined {
    return this.series.frames[this.at.frame];
  }

  open(study: Study): void {
    this.study = study;
    for (const s of study.series) for (const f of s.frames) this.seriesOf.set(f.sop, s.uid);
    const first = this.fromHash() ?? firstView(study);
    if (first) this.go(first.series, first.frame);
    banner(study);
    strip(this);
    if (!first) message(say('noImage'));
  }

  private fromHash(): { series: number; frame: number } | undefined {
    const h = new URLSearchParams(location.hash.slice(1));
    const sop = h.get('sop');
    if (sop) {
      const holder = this.study.series.findIndex((s) => s.frames.some((f) => f.sop === sop));
      return holder < 0 ? undefined : { series: holder, frame: this.study.series[holder]!.frames.findIndex((f) => f.sop === sop) };
    }
    const series = this.study.series.findIndex((s) => s.uid === h.get('series'));
    const frame = Number(h.get('image') ?? '1') - 1;
    return series >= 0 && this.study.series[series]!.frames[frame] ? { series, frame } : undefined;
  }

  go(series: number, frame: number): void {
    const s = this.study.series[series];
    if (!s || s.frames.length === 0) return;
    const next = Math.min(s.frames.length - 1, Math.max(0, frame));
    const other = series !== this.at.series;
    if (!other && next !== this.at.frame) this.direction = next > this.at.frame ? 1 : -1;
    this.at = { series, frame: next };
    if (other) {
      this.view.fit();
      markStrip(this);
    }
    this.showFrame();
    this.frames.focus(s.frames, next, this.direction);
    history.replaceState(null, '', `#series=${s.uid}&image=${next + 1}`);
  }

  private showFrame(): void {
    const f = this.frame!;
    const p = this.frames.get(f);
    const pixels = p && 'data' in p ? p : undefined;
    if (pixels) {
      this.applyWindow(f, pixels);
      this.view.show(pixels, f.facts);
    } else if (p || !this.shownSeries()) {
      this.view.show(undefined, f.facts);
    }
    message(p && 'error' in p ? say(p.error === 'session' ? 'noSession' : 'failed', { why: p.error }) : '');
    const failed = p !== undefined && 'error' in p;
    // The words come with the pixels, not before them.
    this.toTell = () => this.tellState(f, pixels, failed);
    if (!pixels) this.painted();
  }

  private toTell: (() => void) | undefined;
  private painted(): void {
    this.toTell?.();
    this.toTell = undefined;
    this.tellPlace();
    if (!this.firstSeen && this.view.hasPixels) {
      this.firstSeen = true;
      performance.mark('garonne-first-pixels');
    }
    if (this.firstSeen && !this.firstExact && this.frame && this.frames.isWhole(this.frame)) this.afterFirst();
  }

  /** While scrolling, the last image of the same series stays until the next is there. */
  private lastSeries = -1;
  private shownSeries(): boolean {
    const same = this.lastSeries === this.at.series;
    this.lastSeries = this.at.series;
    return same;
  }

  private applyWindow(f: Frame, p: Pixels): void {
    const chosen = this.windows.get(this.series.uid);
    if (chosen) {
      this.view.setWindow(chosen);
    } else if (p.rgba && wayOf(f.facts) === 'rendered') {
      this.view.setWindow({ centre: 128, width: 256 });
    } else {
      this.view.setWindow(firstWindow(f.facts, p));
    }
  }

  private frameChanged(f: Frame): void {
    if (f === this.frame) {
      this.showFrame();
    }
    this.tellLoaded();
  }

  /** The first image is there: now the rest may have the line. */
  private afterFirst(): void {
    this.firstExact = true;
    performance.mark('garonne-first-exact');
    this.frames.warm().grow();
    setTimeout(() => {
      void thumbnails(this);
      FullViewer.prefetch();
      this.planWarmFull();
    }, 300);
  }

  setWindow(centre: number, width: number): void {
    const w = { centre, width: Math.max(1, width) };
    this.windows.set(this.series.uid, w);
    this.view.setWindow(w);
  }

  resetWindow(): void {
    this.windows.delete(this.series.uid);
    this.view.setInvert(false);
    this.showFrame();
  }

  step(by: number): void {
    this.go(this.at.series, this.at.frame + by);
  }

  stepSeries(by: number): void {
    for (let i = this.at.series + by; this.study.series[i]; i += by) {
      if (this.study.series[i]!.frames.length > 0) {
        this.goSeries(i);
        return;
      }
    }
  }

  goSeries(i: number): void {
    const s = this.study.series[i];
    if (!s || s.frames.length === 0) return;
    this.stopCine();
    const stack = s.frames.length > 3 && s.frames[0]!.place !== undefined;
    this.go(i, stack ? s.frames.length >> 1 : 0);
  }

  toggleCine(): void {
    if (this.cine) {
      this.stopCine();
      return;
    }
    const ms = Math.min(1000, Math.max(20, Number(this.frame?.facts.time ?? 66) || 66));
    this.cine = window.setInterval(() => {
      const n = this.series.frames.length;
      const next = (this.at.frame + 1) % n;
      if (this.frames.isWhole(this.series.frames[next]!)) this.go(this.at.series, next);
    }, ms);
  }

  private stopCine(): void {
    clearInterval(this.cine);
    this.cine = 0;
  }

  /* -- words on the image -- */

  private tellState(f: Frame, p: Pixels | undefined, failed: boolean): void {
    const way = wayOf(f.facts);
    const el = $('state');
    let kind = 'loading';
    let text = say('loading');
    if (failed) {
      kind = 'failed';
      text = '';
    } else if (p && way === 'rendered') {
      kind = 'rendered';
      text = say('rendered');
    } else if (p?.exact) {
      const lossy = f.facts.lossy === '01' || way === 'jpeg' || f.facts.syntax === '1.2.840.10008.1.2.4.203';
      kind = lossy ? 'lossy' : 'exact';
      text = say(kind as 'lossy' | 'exact');
    } else if (p) {
      kind = 'preview';
      text = say('preview');
    }
    if (p) document.documentElement.dataset.pixels = '1';
    el.dataset.kind = kind;
    el.textContent = text;
  }

  private tellPlace(): void {
    const f = this.frame;
    if (!f) return;
    const lines = [
      [say('series', { number: this.series.number || '—' }), this.series.description].filter(Boolean).join(' · '),
      say('image', { i: this.at.frame + 1, n: this.series.frames.length }),
    ];
    if (f.place !== undefined) lines.push(say('slice', { mm: f.place.toFixed(1) }));
    setLines($('place'), lines);
    const w = this.view.window;
    const round = (v: number) => (Math.abs(v) < 10 ? v.toFixed(1) : v.toFixed(0));
    const b = this.view.box();
    const colour = (f.facts.samples ?? 1) > 1;
    setLines($('window'), [
      ...(colour ? [] : [say('window', { width: round(w.width), centre: round(w.centre) })]),
      say('zoom', { percent: Math.round((b.w / (f.facts.cols ?? 1)) * 100) }),
    ]);
    $('image').setAttribute('aria-label', lines.join(', '));
  }

  private tellLoaded(): void {
    const n = this.series.frames.length;
    const k = this.frames.count(this.series.frames);
    $('note').textContent = n > 1 && k < n ? say('loaded', { k, n }) : '';
  }

  /* -- the full viewer -- */

  place(): Place | undefined {
    const f = this.frame;
    if (!f) return undefined;
    const grey = (f.facts.samples ?? 1) === 1 && wayOf(f.facts) !== 'rendered';
    return {
      series: this.series.uid,
      sop: f.sop,
      frame: f.frame,
      ...(grey && { window: this.view.window }),
      invert: this.view.invert,
    };
  }

  /** Builds the full viewer up behind the reader, where there are processors to spare, once nothing more is awaited here. */
  warmFull(): void {
    const place = this.place();
    if (place) this.full.start(place);
  }

  private planWarmFull(): void {
    if ((navigator.hardwareConcurrency || 2) < 4) return;
    const look = setInterval(() => {
      if (!this.frames.isBusy) {
        clearInterval(look);
        this.warmFull();
      }
    }, 2000);
  }

  openFull(): void {
    this.stopCine();
    const place = this.place() ?? { series: '', sop: '', frame: 1, invert: false };
    this.full.open(place);
    document.body.dataset.full = 'opening';
    $('full-button').textContent = say('quick');
  }

  private fullShown(): void {
    document.body.dataset.full = 'shown';
    performance.mark('garonne-full-shown');
  }

  closeFull(): void {
    this.full.close();
    delete document.body.dataset.full;
    $('full-button').textContent = say('full');
    $('image').focus();
  }
}

/* ---- pieces of the page */

function setLines(el: HTMLElement, lines: string[]): void {
  const text = lines.filter(Boolean).join('\n');
  if (el.textContent !== text) el.textContent = text;
}

function element<K extends keyof HTMLElementTagNameMap>(tag: K, cls: string, text: string): HTMLElementTagNameMap[K] {
  const el = document.createElement(tag);
  el.className = cls;
  el.textContent = text;
  return el;
}

function message(text: string): void {
  const el = $('message');
  el.textContent = text;
  el.hidden = text === '';
}

function ageText(study: Study): string {
  const a = age(study.birth, study.date);
  return a ? say(a.unit === 'y' ? 'years' : a.unit === 'm' ? 'months' : 'days', { n: a.n }) : '';
}

function button(id: string, cls: string, text: string, act: () => void): HTMLButtonElement {
  const b = element('button', cls, text);
  b.id = id;
  b.type = 'button';
  b.addEventListener('click', act);
  return b;
}

function banner(study: Study): void {
  const el = $('banner');
  const name = personName(study.name) || say('unnamed');
  const sex = { M: say('sexM'), F: say('sexF'), O: say('sexO') }[study.sex ?? ''] ?? '';
  const born = study.birth ? say('born', { date: dateText(study.birth, lang) }) : '';
  const who = element('div', 'who', '');
  who.append(
    element('h1', 'name', name),
    element('span', 'facts', [sex, [born, ageText(study)].filter(Boolean).join(' · '), study.pid ? `IPP ${study.pid}` : ''].filter(Boolean).join('  |  ')),
  );
  const what = element('div', 'what', '');
  what.append(
    element('span', 'exam', study.description ?? ''),
    element('span', 'facts', [dateText(study.date, lang), timeText(study.time), study.accession].filter(Boolean).join(' · ')),
  );
  el.replaceChildren(
    button('back-button', 'back', `‹ ${say('back')}`, back),
    who,
    what,
    button('help-button', 'round', '?', openHelp),
    button('full-button', 'primary', say('full'), () => (reader.full.isOpen ? reader.closeFull() : reader.openFull())),
  );
  // The hand is on its way.
  $('full-button').addEventListener('pointerenter', () => reader.warmFull(), { once: true });
  document.title = `${name} · Garonne`;
}

function strip(r: Reader): void {
  const el = $('strip');
  el.replaceChildren(
    ...r.study.series.map((s, i) => {
      const b = button(`series-${i}`, 'series', '', () => r.goSeries(i));
      const c = document.createElement('canvas');
      c.width = 128;
      c.height = 128;
      c.setAttribute('aria-hidden', 'true');
      const n = s.frames.length;
      b.append(
        c,
        element('span', 'series-name', [s.modality, s.number && `n° ${s.number}`].filter(Boolean).join(' ')),
        element('span', 'series-text', s.description),
        element('span', 'series-count', n > 0 ? say('images', { n }) : say('objects', { n: s.objects })),
      );
      b.disabled = n === 0;
      return b;
    }),
  );
  markStrip(r);
}

function markStrip(r: Reader): void {
  [...$('strip').children].forEach((b, i) => {
    if (i === r.at.series) {
      b.setAttribute('aria-current', 'true');
      b.scrollIntoView({ block: 'nearest' });
    } else {
      b.removeAttribute('aria-current');
    }
  });
}

async function thumbnails(r: Reader): Promise<void> {
  for (const [i, s] of r.study.series.slice(0, 60).entries()) {
    const f = s.frames[s.frames.length >> 1];
    const canvas = document.querySelector<HTMLCanvasElement>(`#series-${i} canvas`);
    if (!f || !canvas) continue;
    try {
      const p = await r.frames.sample(f);
      if (p) View.thumbnail(canvas, p, f.facts, firstWindow(f.facts, p));
    } catch {
      // a picture less
    }
  }
}

function openHelp(): void {
  const d = $<HTMLDialogElement>('help');
  const list = document.createElement('dl');
  for (const [key, what] of words.keys) list.append(element('dt', '', key), element('dd', '', what));
  d.replaceChildren(
    element('h2', '', say('help')),
    list,
    button('help-close', 'primary', say('close'), () => d.close()),
  );
  d.showModal();
}

function back(): void {
  if (document.referrer.startsWith(`${location.origin}/`) && history.length > 1) history.back();
  else location.href = '/';
}

/* ---- hands */

function mouse(r: Reader): void {
  const c = r.view.canvas;
  let wheel = 0;
  c.addEventListener(
    'wheel',
    (e) => {
      e.preventDefault();
      if (e.ctrlKey) {
        const b = c.getBoundingClientRect();
        const x = e.clientX - b.left - b.width / 2;
        const y = e.clientY - b.top - b.height / 2;
        r.view.zoomBy(Math.exp(-e.deltaY / 300), x, y);
        return;
      }
      wheel += e.deltaMode === 1 ? e.deltaY * 33 : e.deltaY;
      const steps = Math.trunc(wheel / 33);
      if (steps !== 0) {
        wheel -= steps * 33;
        r.step(Math.abs(steps) <= 3 ? Math.sign(steps) : Math.trunc(steps / 3));
      }
    },
    { passive: false },
  );
  c.addEventListener('pointerdown', (e) => {
    c.setPointerCapture(e.pointerId);
    c.focus();
  });
  c.addEventListener('pointermove', (e) => {
    if (!c.hasPointerCapture(e.pointerId) || e.buttons === 0) return;
    if (e.buttons & 6 || e.shiftKey) {
      if (e.buttons & 2 && !e.shiftKey) r.view.zoomBy(Math.exp(-e.movementY / 150), 0, 0);
      else r.view.panBy(e.movementX, e.movementY);
      return;
    }
    const w = r.view.window;
    const gain = Math.max(1, w.width / 400);
    r.setWindow(w.centre + e.movementY * gain, w.width + e.movementX * gain);
  });
  c.addEventListener('contextmenu', (e) => e.preventDefault());
  c.addEventListener('dblclick', () => r.view.fit());
}

function keyboard(r: Reader): void {
  const preset = (i: number) => () => {
    if (r.series.modality === 'CT') r.setWindow(PRESETS[i]![1], PRESETS[i]![0]);
  };
  const keys: Record<string, () => void> = {
    ArrowDown: () => r.step(1),
    ArrowUp: () => r.step(-1),
    PageDown: () => r.step(10),
    PageUp: () => r.step(-10),
    Home: () => r.go(r.at.series, 0),
    End: () => r.go(r.at.series, r.series.frames.length - 1),
    ArrowRight: () => r.stepSeries(1),
    ArrowLeft: () => r.stepSeries(-1),
    '+': () => r.view.zoomBy(1.25, 0, 0),
    '-': () => r.view.zoomBy(0.8, 0, 0),
    f: () => r.view.fit(),
    i: () => r.view.setInvert(!r.view.invert),
    r: () => r.resetWindow(),
    c: () => r.toggleCine(),
    v: () => r.openFull(),
    Enter: () => r.openFull(),
    Escape: () => (r.full.isOpen ? r.closeFull() : back()),
    '?': openHelp,
    ...Object.fromEntries(PRESETS.map((_, i) => [String(i + 1), preset(i)])),
  };
  document.addEventListener('keydown', (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || $<HTMLDialogElement>('help').open) return;
    const onButton = e.target instanceof HTMLButtonElement && (e.key === 'Enter' || e.key === ' ');
    const act = keys[e.key.length === 1 ? e.key.toLowerCase() : e.key];
    if (!act || onButton || (r.full.isOpen && e.key !== 'Escape')) return;
    e.preventDefault();
    act();
  });
}

/* ---- start */

async function load(): Promise<string> {
  const known = takeHandover(uid);
  if (known) return known;
  for (;;) {
    try {
      const r = await fetch(`/api/v1/studies/${encodeURIComponent(uid)}/instances`, { credentials: 'same-origin' });
      if (r.ok) return await r.text();
      message(say(r.status === 401 ? 'noSession' : r.status < 500 ? 'noStudy' : 'noServer'));
      if (r.status < 500) return '';
    } catch {
      message(say('noServer'));
    }
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

document.documentElement.lang = lang;
$('stage').dataset.opening = say('opening');
const reader = new Reader();
reader.frames.warm();
void load().then((text) => {
  if (text === '') return;
  reader.open(parseStudy(text));
  mouse(reader);
  keyboard(reader);
  $('image').focus();
});

/*
 * Fetches and keeps frames: the one on the screen first, by resolution; then its neighbours, nearest
 * first, whole.
 */
import { Decoder } from './decoder';
import type { Facts, Frame } from './model';
import { onlyPart } from './multipart';
import { type Pixels, planarToInterleaved, unpack } from './pixels';
import { ACCEPT, levelFor, type Way, wayOf } from './syntax';

const FIRST = 16 * 1024; // a quarter of the size of a CT slice
const FIRST_LARGE = 64 * 1024;
const LARGE = 1 << 20; // pixels
const AT_ONCE = 4; // requests; a browser has six for a server
const NEAR = 8; // requests for slices further away than that make room
const KEEP = 400 * 1024 * 1024; // bytes of decoded pixels

export type Failure = { error: string };

interface Job {
  frame: Frame;
  abort: AbortController;
}

export const keyOf = (f: Frame): string => `${f.sop}/${f.frame}`;

interface Body {
  bytes: Uint8Array;
  type: string;
  total: number; // of the frame; bytes may be its beginning
}

async function get(url: string, accept: string, signal: AbortSignal, range?: string): Promise<Body> {
  const r = await fetch(url, {
    credentials: 'same-origin',
    signal,
    headers: { Accept: accept, ...(range && { Range: `bytes=${range}` }) },
  });
  if (!r.ok) throw new Error(r.status === 401 ? 'session' : `${r.status} ${r.headers.get('X-Request-Id') ?? ''}`);
  const body = new Uint8Array(await r.arrayBuffer());
  const total = /\/(\d+)$/.exec(r.headers.get('Content-Range') ?? '')?.[1];
  const part = onlyPart(body, r.headers.get('Content-Type') ?? '');
  return { ...part, total: r.status === 206 && total ? Number(total) : part.bytes.length };
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const to = new Uint8Array(a.length + b.length);
  to.set(a);
  to.set(b, a.length);
  return to;
}

export class Frames {
  private decoder: Decoder | undefined;
  private known = new Map<string, Pixels | Failure>(); // the least recently used first
  private bytes = 0;
  private jobs = new Map<string, Job>();
  private order: Frame[] = [];
  private current = '';
  loaded = 0; // exact ones, over the life of the page

  constructor(
    private study: string,
    private seriesOf: (f: Frame) => string,
    private changed: (f: Frame) => void,
  ) {}

  /** The decoder can be made before it is known what there is to decode. */
  warm(): Decoder {
    return (this.decoder ??= new Decoder());
  }

  get(f: Frame): Pixels | Failure | undefined {
    const key = keyOf(f);
    const p = this.known.get(key);
    if (p) {
      this.known.delete(key);
      this.known.set(key, p);
    }
    return p;
  }

  get isBusy(): boolean {
    return this.jobs.size > 0;
  }

  isWhole(f: Frame): boolean {
    const p = this.known.get(keyOf(f));
    return p !== undefined && ('error' in p || p.exact || p.rgba === true);
  }

  /** Bytes of one frame decoded. */
  static size(f: Facts): number {
    return (f.rows ?? 0) * (f.cols ?? 0) * (f.samples ?? 1) * ((f.alloc ?? 16) > 8 ? 2 : 1);
  }

  /** What is on the screen, and in which order the rest of its series is wanted. */
  focus(frames: Frame[], at: number, direction: number): void {
    const current = frames[at];
    if (!current) return;
    this.current = keyOf(current);
    const most = Math.max(1, Math.floor(KEEP / Math.max(1, Frames.size(current.facts)) / 1.2));
    const order = [current];
    for (let d = 1; order.length < Math.min(most, frames.length) && d < frames.length; d++) {
      const ahead = frames[at + d * direction];
      const behind = frames[at - d * direction];
      if (ahead) order.push(ahead);
      if (behind) order.push(behind);
    }
    this.order = order;
    if (!this.isWhole(current)) {
      const near = new Set(order.slice(0, NEAR).map(keyOf));
      for (const [key, job] of this.jobs) if (!near.has(key)) job.abort.abort();
    }
    this.pump();
  }

  private pump(): void {
    for (const f of this.order) {
      const key = keyOf(f);
      const urgent = key === this.current;
      if (this.jobs.size >= AT_ONCE + (urgent ? 1 : 0)) return;
      if (!this.jobs.has(key) && !this.isWhole(f)) this.start(f, key, urgent);
      // Until the image on the screen is complete it has the line for itself.
      if (urgent && !this.isWhole(f)) return;
    }
  }

  private start(frame: Frame, key: string, urgent: boolean): void {
    const job = { frame, abort: new AbortController() };
    this.jobs.set(key, job);
    this.load(frame, urgent, job.abort.signal)
      .catch((e: unknown) => {
        if (!job.abort.signal.aborted) this.keep(frame, { error: e instanceof Error ? e.message : String(e) });
      })
      .finally(() => {
        this.jobs.delete(key);
        this.pump();
      });
  }

  private keep(frame: Frame, p: Pixels | Failure): void {
    const key = keyOf(frame);
    const old = this.known.get(key);
    if (old && 'data' in old) this.bytes -= old.data.byteLength;
    this.known.delete(key);
    this.known.set(key, p);
    if ('data' in p) {
      this.bytes += p.data.byteLength;
      if (p.exact) this.loaded++;
    }
    for (const [k, v] of this.known) {
      if (this.bytes <= KEEP || k === this.current) break;
      this.known.delete(k);
      if ('data' in v) this.bytes -= v.data.byteLength;
    }
    this.changed(frame);
  }

  url(f: Frame, rendered: boolean): string {
    const base = `/dicomweb/studies/${this.study}/series/${this.seriesOf(f)}/instances/${f.sop}/frames/${f.frame}`;
    return rendered ? `${base}/rendered` : base;
  }

  private async load(f: Frame, urgent: boolean, signal: AbortSignal): Promise<void> {
    const way = wayOf(f.facts);
    if (way === 'htj2k-progressive' && urgent) return this.loadByResolution(f, signal);
    const body = await get(this.url(f, way === 'rendered'), ACCEPT[way], signal);
    this.keep(f, await this.decodeWhole(f, way, body));
  }

  private async loadByResolution(f: Frame, signal: AbortSignal): Promise<void> {
    const url = this.url(f, false);
    const accept = ACCEPT['htj2k-progressive'];
    const first = (f.facts.rows ?? 0) * (f.facts.cols ?? 0) > LARGE ? FIRST_LARGE : FIRST;
    const head = await get(url, accept, signal, `0-${first - 1}`);
    if (!/jphc|octet-stream/.test(head.type) || head.bytes.length >= head.total) {
      this.keep(f, await this.decodeWhole(f, 'htj2k-progressive', head));
      return;
    }
    const rest = get(url, accept, signal, `${head.bytes.length}-`);
    rest.catch(() => undefined); // waited for below
    try {
      this.keep(f, await this.decodeHtj2k(f, head.bytes, levelFor(head.bytes.length, head.total)));
    } catch {
      // no harm: the whole comes
    }
    const tail = await rest;
    this.keep(f, await this.decodeHtj2k(f, join(head.bytes, tail.bytes), 0));
  }

  private async decodeHtj2k(f: Frame, bytes: Uint8Array, level: number): Promise<Pixels> {
    const d = await this.warm().decode(bytes, level);
    const components = d.components === 3 ? 3 : 1;
    const b = d.data.buffer as ArrayBuffer;
    const data =
      d.bits <= 8 ? (d.signed ? new Int8Array(b) : d.data) : d.signed ? new Int16Array(b) : new Uint16Array(b);
    const full = d.cols === f.facts.cols && d.rows === f.facts.rows;
    return { cols: d.cols, rows: d.rows, components, data, exact: full && level === 0 };
  }

  private async decodeWhole(f: Frame, way: Way, body: Body): Promise<Pixels> {
    if (/jphc/.test(body.type) || (way.startsWith('htj2k') && !/image\/(jpeg|png)/.test(body.type))) {
      return this.decodeHtj2k(f, body.bytes, 0);
    }
    if (/^image\//.test(body.type)) return this.decodePicture(f, body, way === 'jpeg');
    return decodeRaw(f, body.bytes);
  }

  private async decodePicture(f: Frame, body: Body, stored: boolean): Promise<Pixels> {
    const bitmap = await createImageBitmap(new Blob([body.bytes as BlobPart], { type: body.type.split(';')[0]! }), {
      colorSpaceConversion: 'none',
    });
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const ctx = canvas.getContext('2d')!;
    ctx.drawImage(bitmap, 0, 0);
    const { data } = ctx.getImageData(0, 0, bitmap.width, bitmap.height);
    const grey = stored && (f.facts.samples ?? 1) === 1;
    return { cols: bitmap.width, rows: bitmap.height, components: grey ? 1 : 3, data, rgba: true, exact: stored };
  }

  /** Something to recognise a series by, at little cost; undefined when that would not be little. */
  async sample(f: Frame): Promise<Pixels | undefined> {
    const known = this.known.get(keyOf(f));
    if (known && 'data' in known) return known;
    const way = wayOf(f.facts);
    const signal = AbortSignal.timeout(20000);
    if (way === 'htj2k-progressive') {
      const head = await get(this.url(f, false), ACCEPT[way], signal, `0-${FIRST - 1}`);
      return this.decodeHtj2k(f, head.bytes, Math.max(1, levelFor(head.bytes.length, head.total)));
    }
    if (Frames.size(f.facts) > LARGE * 2) return undefined;
    return this.decodeWhole(f, way, await get(this.url(f, way === 'rendered'), ACCEPT[way], signal));
  }

  /** How many of these are complete. */
  count(frames: Frame[]): number {
    return frames.reduce((n, f) => n + (this.isWhole(f) ? 1 : 0), 0);
  }
}

function decodeRaw(f: Frame, bytes: Uint8Array): Pixels {
  const components = f.facts.samples === 3 ? 3 : 1;
  const n = (f.facts.rows ?? 0) * (f.facts.cols ?? 0) * components;
  let data = unpack(bytes, f.facts);
  if (data.length < n) throw new Error(`short frame: ${data.length} of ${n} samples`);
  data = data.subarray(0, n);
  if (components === 3 && f.facts.planar === 1) data = planarToInterleaved(data as Uint8Array);
  return { cols: f.facts.cols!, rows: f.facts.rows!, components, data, exact: true };
}

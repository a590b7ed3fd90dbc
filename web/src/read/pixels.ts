/* From stored values to grey levels on the screen, PS3.3 C.11.  Pure. */
import type { Facts } from './model';

export type Samples = Uint8Array | Int8Array | Uint16Array | Int16Array;

/** Decoded pixels of one frame, at full or reduced size. */
export interface Pixels {
  cols: number;
  rows: number;
  components: 1 | 3;
  data: Samples | Uint8ClampedArray; // 3 components: interleaved; 4 a pixel when rgba
  rgba?: boolean;
  exact: boolean; // every stored value, at full size
}

export interface Window {
  centre: number;
  width: number;
}

/** Little-endian bytes as samples; sign extended from the bits stored. */
export function unpack(bytes: Uint8Array, f: Facts): Samples {
  const signed = f.signed === 1;
  if (f.alloc === 8) return signed ? new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length) : bytes;
  const even = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  const n = even.length >> 1;
  const stored = f.stored ?? 16;
  if (signed) {
    const v = new Int16Array(even.buffer, even.byteOffset, n);
    if (stored === 16) return v;
    const shift = 16 - stored;
    return v.map((x) => (x << (16 + shift)) >> (16 + shift));
  }
  const v = new Uint16Array(even.buffer, even.byteOffset, n);
  if (stored === 16) return v;
  const mask = (1 << stored) - 1;
  return v.map((x) => x & mask);
}

export function planarToInterleaved(v: Uint8Array): Uint8Array {
  const n = Math.floor(v.length / 3);
  const to = new Uint8Array(n * 3);
  for (let i = 0; i < n; i++) {
    to[3 * i] = v[i]!;
    to[3 * i + 1] = v[n + i]!;
    to[3 * i + 2] = v[2 * n + i]!;
  }
  return to;
}

/** Smallest and largest stored value, padding left out. */
export function extremes(p: Pixels, padding: number | undefined): [number, number] {
  let lo = Infinity;
  let hi = -Infinity;
  const step = p.rgba ? 4 : 1;
  for (let i = 0; i < p.data.length; i += step) {
    const v = p.data[i]!;
    if (v === padding) continue;
    if (v < lo) lo = v;
    if (v > hi) hi = v;
  }
  return lo <= hi ? [lo, hi] : [0, 1];
}

/** The window that the image asks for, else the whole range of its values. */
export function firstWindow(f: Facts, p: Pixels): Window {
  if (f.wc !== undefined && f.ww !== undefined && f.ww >= 1) return { centre: f.wc, width: f.ww };
  const [lo, hi] = extremes(p, f.padding);
  const a = lo * (f.slope ?? 1) + (f.icept ?? 0);
  const b = hi * (f.slope ?? 1) + (f.icept ?? 0);
  return { centre: (a + b) / 2 + 0.5, width: Math.abs(b - a) + 1 };
}

/** Output 0…255 of a modality value; C.11.2.1.2 and C.11.2.1.3. */
export function grey(x: number, w: Window, fn: string | undefined): number {
  if (fn === 'SIGMOID') return 255 / (1 + Math.exp((-4 * (x - w.centre)) / w.width));
  if (fn === 'LINEAR_EXACT') {
    if (x <= w.centre - w.width / 2) return 0;
    return x > w.centre + w.width / 2 ? 255 : ((x - w.centre) / w.width + 0.5) * 255;
  }
  const width = Math.max(w.width, 1);
  if (x <= w.centre - 0.5 - (width - 1) / 2) return 0;
  if (x > w.centre - 0.5 + (width - 1) / 2) return 255;
  return ((x - (w.centre - 0.5)) / (width - 1) + 0.5) * 255;
}

/** Grey level of every stored value from lo on. */
export function greyTable(lo: number, n: number, f: Facts, w: Window, invert: boolean): Uint8ClampedArray {
  const t = new Uint8ClampedArray(n);
  const slope = f.slope ?? 1;
  const icept = f.icept ?? 0;
  const flip = (f.photo === 'MONOCHROME1') !== (f.shape === 'INVERSE' && f.photo !== 'MONOCHROME1') ? !invert : invert;
  for (let i = 0; i < n; i++) {
    const g = grey((lo + i) * slope + icept, w, f.voi);
    t[i] = flip ? 255 - g : g;
  }
  return t;
}

/** Fills 4 bytes a pixel. */
export function render(p: Pixels, f: Facts, w: Window, invert: boolean, to: Uint32Array): void {
  const n = p.cols * p.rows;
  if (p.components === 3) {
    const step = p.rgba ? 4 : 3;
    const flip = invert ? 0xffffff : 0;
    for (let i = 0, k = 0; i < n; i++, k += step) {
      to[i] = (0xff000000 | (p.data[k + 2]! << 16) | (p.data[k + 1]! << 8) | p.data[k]!) ^ flip;
    }
    return;
  }
  const wide = !(p.data instanceof Uint8Array || p.data instanceof Int8Array || p.data instanceof Uint8ClampedArray);
  const signed = p.data instanceof Int16Array || p.data instanceof Int8Array;
  const size = wide ? 65536 : 256;
  const lo = signed ? -size / 2 : 0;
  const bytes = greyTable(lo, size, f, w, invert);
  const words = new Uint32Array(size);
  for (let i = 0; i < size; i++) words[i] = 0xff000000 | (bytes[i]! * 0x010101);
  const step = p.rgba ? 4 : 1;
  for (let i = 0, k = 0; i < n; i++, k += step) to[i] = words[p.data[k]! - lo]!;
}

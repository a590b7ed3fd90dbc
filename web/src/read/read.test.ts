import { describe, expect, it } from 'vitest';
import { firstView, parseStudy, placeOf } from './model';
import { onlyPart } from './multipart';
import { firstWindow, grey, greyTable, planarToInterleaved, render, unpack } from './pixels';
import { levelFor, wayOf } from './syntax';

const study = (series: object[]) => parseStudy(JSON.stringify({ uid: '1.2', series }));
const stack = (z: number[], more: object = {}) => ({
  uid: '1.3',
  number: '2',
  modality: 'CT',
  prefix: '1.4.',
  sop: z.map((_, i) => String(i + 1)),
  all: { rows: 4, cols: 4, orient: [1, 0, 0, 0, 1, 0] },
  each: { pos: z.map((v) => [0, 0, v]), number: z.map((_, i) => i + 1) },
  ...more,
});

describe('the instance index', () => {
  it('says once what is common and joins it with what is not', () => {
    const s = study([stack([10, 20])]).series[0]!;
    expect(s.frames.map((f) => f.sop)).toEqual(['1.4.1', '1.4.2']);
    expect(s.frames[1]!.facts).toMatchObject({ rows: 4, number: 2, pos: [0, 0, 20] });
  });

  it('orders slices by place, the way that their numbers run', () => {
    const up = study([stack([30, 10, 20])]).series[0]!;
    expect(up.frames.map((f) => f.place)).toEqual([30, 20, 10]);
    const down = study([stack([10, 30, 20])]).series[0]!;
    expect(down.frames.map((f) => f.place)).toEqual([10, 20, 30]);
  });

  it('orders by number when two slices share a place', () => {
    const s = study([stack([10, 10, 5])]).series[0]!;
    expect(s.frames.map((f) => f.facts.number)).toEqual([1, 2, 3]);
  });

  it('gives each frame of a multi-frame image its place', () => {
    const s = study([{ uid: '1', prefix: '', sop: ['9'], all: { rows: 2, cols: 2, frames: 3 }, each: {} }]).series[0]!;
    expect(s.frames.map((f) => f.frame)).toEqual([1, 2, 3]);
  });

  it('counts what is no image', () => {
    const s = study([{ uid: '1', prefix: '', sop: ['9', '8'], all: {}, each: {} }]).series[0]!;
    expect([s.frames.length, s.objects]).toEqual([0, 2]);
  });

  it('begins in the middle of a stack, not with the localizer', () => {
    const localizer = { uid: '1.1', number: '1', prefix: '5', sop: ['1'], all: { rows: 4, cols: 4 }, each: {} };
    expect(firstView(study([localizer, stack([1, 2, 3, 4, 5])]))).toEqual({ series: 1, frame: 2 });
    expect(firstView(study([]))).toBeUndefined();
  });

  it('knows the distance along the normal of an oblique plane', () => {
    const half = Math.SQRT1_2;
    expect(placeOf({ pos: [0, 0, 10], orient: [1, 0, 0, 0, half, half] })).toBeCloseTo(10 * half);
    expect(placeOf({ pos: [0, 0, 10] })).toBeUndefined();
  });
});

describe('stored values', () => {
  it('are sign extended from the bits stored', () => {
    const v = unpack(new Uint8Array([0xff, 0x0f, 0x00, 0x08]), { alloc: 16, stored: 12, signed: 1 });
    expect([...v]).toEqual([-1, -2048]);
  });

  it('lose what lies above the bits stored', () => {
    expect([...unpack(new Uint8Array([0xff, 0xff]), { alloc: 16, stored: 12, signed: 0 })]).toEqual([4095]);
  });

  it('are read at an odd address', () => {
    const bytes = new Uint8Array([9, 1, 2]).subarray(1);
    expect([...unpack(bytes, { alloc: 16, stored: 16, signed: 0 })]).toEqual([0x0201]);
  });

  it('of colour by plane are put side by side', () => {
    expect([...planarToInterleaved(new Uint8Array([1, 2, 3, 4, 5, 6]))]).toEqual([1, 3, 5, 2, 4, 6]);
  });
});

describe('the window (PS3.3 C.11.2.1.2)', () => {
  it('is linear between its edges and flat outside', () => {
    const w = { centre: 2048, width: 4096 }; // note 4 of the standard: 0 to 4095 is all of it
    expect(grey(0, w, undefined)).toBe(0);
    expect(grey(4095, w, undefined)).toBeCloseTo(255);
    expect(grey(2047.5, w, undefined)).toBeCloseTo(127.5);
    expect(grey(-5, w, 'LINEAR')).toBe(0);
  });

  it('has its exact and sigmoid forms', () => {
    const w = { centre: 100, width: 200 };
    expect(grey(100, w, 'LINEAR_EXACT')).toBeCloseTo(127.5);
    expect(grey(0, w, 'LINEAR_EXACT')).toBe(0);
    expect(grey(100, w, 'SIGMOID')).toBeCloseTo(127.5);
  });

  it('of one value wide is a threshold', () => {
    const w = { centre: 10, width: 1 };
    expect([grey(9.5, w, undefined), grey(10, w, undefined)]).toEqual([0, 255]);
  });

  it('applies to modality values, and MONOCHROME1 is white at the low end', () => {
    const f = { slope: 2, icept: -100 };
    const w = { centre: 0, width: 200 };
    const t = greyTable(0, 101, f, w, false);
    expect(t[50]).toBe(Math.round(grey(0, w, undefined)));
    const m1 = greyTable(0, 101, { ...f, photo: 'MONOCHROME1' }, w, false);
    expect(m1[0]).toBe(255);
    expect(greyTable(0, 101, { ...f, photo: 'MONOCHROME1' }, w, true)[0]).toBe(0);
  });

  it('is that of the image, else the range of its values without padding', () => {
    const p = { cols: 3, rows: 1, components: 1 as const, data: new Int16Array([-2000, 10, 30]), exact: true };
    expect(firstWindow({ wc: 40, ww: 400 }, p)).toEqual({ centre: 40, width: 400 });
    expect(firstWindow({ padding: -2000 }, p)).toEqual({ centre: 20.5, width: 21 });
  });

  it('renders negative values', () => {
    const to = new Uint32Array(2);
    const p = { cols: 2, rows: 1, components: 1 as const, data: new Int16Array([-1000, 1000]), exact: true };
    render(p, {}, { centre: 0, width: 100 }, false, to);
    expect([...to]).toEqual([0xff000000, 0xffffffff]);
  });
});

describe('the way to the pixels', () => {
  it('follows what is stored', () => {
    const grey16 = { photo: 'MONOCHROME2', samples: 1, alloc: 16, stored: 12 };
    expect(wayOf({ ...grey16, syntax: '1.2.840.10008.1.2.4.202' })).toBe('htj2k-progressive');
    expect(wayOf({ ...grey16, syntax: '1.2.840.10008.1.2.4.201' })).toBe('htj2k');
    expect(wayOf({ ...grey16, syntax: '1.2.840.10008.1.2.4.90' })).toBe('raw');
    expect(wayOf({ photo: 'YBR_FULL_422', samples: 3, alloc: 8, stored: 8, syntax: '1.2.840.10008.1.2.4.50' })).toBe('jpeg');
    expect(wayOf({ photo: 'RGB', samples: 3, alloc: 8, stored: 8, syntax: '1.2.840.10008.1.2.4.50' })).toBe('raw');
    expect(wayOf({ photo: 'PALETTE COLOR', samples: 1, alloc: 8, syntax: '1.2.840.10008.1.2.1' })).toBe('rendered');
    expect(wayOf({ ...grey16, alloc: 1, syntax: '1.2.840.10008.1.2.1' })).toBe('rendered');
  });

  it('asks for the resolution that the beginning holds', () => {
    expect(levelFor(16384, 180_000)).toBe(2);
    expect(levelFor(65536, 3_900_000)).toBe(4);
    expect(levelFor(100, 100)).toBe(0);
    expect(levelFor(1, 1e9)).toBe(5);
  });

  it('takes the one part of a multipart body', () => {
    const body = new TextEncoder().encode('--x\r\nContent-Type: image/jphc; transfer-syntax=1.2.840.10008.1.2.4.202\r\n\r\nPIXELS\r\n--x--\r\n');
    const part = onlyPart(body, 'multipart/related; type="image/jphc"; boundary=x');
    expect([new TextDecoder().decode(part.bytes), part.type]).toEqual(['PIXELS', 'image/jphc; transfer-syntax=1.2.840.10008.1.2.4.202']);
    expect(onlyPart(body, 'image/jphc').bytes).toBe(body);
  });
});

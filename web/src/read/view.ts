/* The image on the canvas: grey levels, place and size. */
import type { Facts } from './model';
import { type Pixels, render, type Window } from './pixels';

export class View {
  private ctx: CanvasRenderingContext2D;
  private buffer = document.createElement('canvas');
  private pixels: Pixels | undefined;
  private facts: Facts = {};
  private stale = true; // the buffer does not show pixels, window and invert
  private planned = false;
  window: Window = { centre: 0, width: 1 };
  invert = false;
  zoom = 1; // of the size that fits
  pan = { x: 0, y: 0 }; // in CSS pixels
  painted: (() => void) | undefined;

  constructor(readonly canvas: HTMLCanvasElement) {
    this.ctx = canvas.getContext('2d', { alpha: false })!;
    new ResizeObserver(() => this.plan()).observe(canvas);
  }

  show(pixels: Pixels | undefined, facts: Facts): void {
    this.pixels = pixels;
    this.facts = facts;
    this.stale = true;
    this.plan();
  }

  setWindow(w: Window): void {
    this.window = { centre: w.centre, width: Math.max(1, w.width) };
    this.stale = true;
    this.plan();
  }

  setInvert(on: boolean): void {
    this.invert = on;
    this.stale = true;
    this.plan();
  }

  get hasPixels(): boolean {
    return this.pixels !== undefined;
  }

  fit(): void {
    this.zoom = 1;
    this.pan = { x: 0, y: 0 };
    this.plan();
  }

  /** Zoom about a point of the canvas, in CSS pixels from its centre. */
  zoomBy(factor: number, x: number, y: number): void {
    const zoom = Math.min(40, Math.max(0.2, this.zoom * factor));
    const k = zoom / this.zoom;
    this.pan = { x: x - (x - this.pan.x) * k, y: y - (y - this.pan.y) * k };
    this.zoom = zoom;
    this.plan();
  }

  panBy(x: number, y: number): void {
    this.pan = { x: this.pan.x + x, y: this.pan.y + y };
    this.plan();
  }

  plan(): void {
    if (this.planned) return;
    this.planned = true;
    requestAnimationFrame(() => {
      this.planned = false;
      this.paint();
    });
  }

  /** Where the image lies, in device pixels. */
  box(): { x: number; y: number; w: number; h: number } {
    const dpr = window.devicePixelRatio || 1;
    const cols = this.facts.cols ?? this.pixels?.cols ?? 1;
    const rows = this.facts.rows ?? this.pixels?.rows ?? 1;
    const [dy, dx] = this.facts.spacing?.length === 2 ? (this.facts.spacing as [number, number]) : [1, 1];
    const w0 = cols;
    const h0 = dy > 0 && dx > 0 ? rows * (dy / dx) : rows;
    const scale = Math.min(this.canvas.width / w0, this.canvas.height / h0) * this.zoom;
    const w = w0 * scale;
    const h = h0 * scale;
    return {
      x: (this.canvas.width - w) / 2 + this.pan.x * dpr,
      y: (this.canvas.height - h) / 2 + this.pan.y * dpr,
      w,
      h,
    };
  }

  private paint(): void {
    const dpr = window.devicePixelRatio || 1;
    const w = Math.round(this.canvas.clientWidth * dpr);
    const h = Math.round(this.canvas.clientHeight * dpr);
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
    }
    this.ctx.fillStyle = '#000';
    this.ctx.fillRect(0, 0, w, h);
    const p = this.pixels;
    if (p) {
      if (this.stale) this.fill(p);
      const b = this.box();
      this.ctx.imageSmoothingEnabled = true;
      this.ctx.imageSmoothingQuality = b.w > p.cols ? 'medium' : 'high';
      this.ctx.drawImage(this.buffer, b.x, b.y, b.w, b.h);
    }
    this.painted?.();
  }

  private fill(p: Pixels): void {
    if (this.buffer.width !== p.cols || this.buffer.height !== p.rows) {
      this.buffer.width = p.cols;
      this.buffer.height = p.rows;
    }
    const ctx = this.buffer.getContext('2d', { willReadFrequently: true })!;
    const image = ctx.createImageData(p.cols, p.rows);
    render(p, this.facts, this.window, this.invert, new Uint32Array(image.data.buffer));
    ctx.putImageData(image, 0, 0);
    this.stale = false;
  }

  /** A small picture of other pixels, for the strip of series. */
  static thumbnail(canvas: HTMLCanvasElement, p: Pixels, f: Facts, w: Window): void {
    const from = document.createElement('canvas');
    from.width = p.cols;
    from.height = p.rows;
    const ctx = from.getContext('2d')!;
    const image = ctx.createImageData(p.cols, p.rows);
    render(p, f, w, false, new Uint32Array(image.data.buffer));
    ctx.putImageData(image, 0, 0);
    const scale = Math.min(canvas.width / p.cols, canvas.height / p.rows);
    const to = canvas.getContext('2d')!;
    to.imageSmoothingQuality = 'high';
    to.clearRect(0, 0, canvas.width, canvas.height);
    const [w1, h1] = [p.cols * scale, p.rows * scale];
    to.drawImage(from, (canvas.width - w1) / 2, (canvas.height - h1) / 2, w1, h1);
  }
}

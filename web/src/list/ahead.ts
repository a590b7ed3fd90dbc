/* What the reader will need, into the browser's cache while people look at the list. */
import wasmUrl from '@cornerstonejs/codec-openjph/wasm?url';
import workerUrl from '../read/decode.worker?worker&url';

let done = false;

export function fetchReaderAhead(): void {
  if (done) return;
  done = true;
  const add = (href: string) => {
    const link = document.createElement('link');
    link.rel = 'prefetch';
    link.href = href;
    document.head.append(link);
  };
  add(wasmUrl);
  add(workerUrl);
  void fetch('/read.html')
    .then((r) => r.text())
    .then((html) => [...html.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].forEach((m) => add(m[1]!)))
    .catch(() => undefined);
}

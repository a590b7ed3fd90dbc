/* A few decoding threads; jobs go to the one with the least to do. */
import wasmUrl from '@cornerstonejs/codec-openjph/wasm?url';
import type { DecodeDone, DecodeJob } from './decode.worker';
import DecodeWorker from './decode.worker?worker';

interface Thread {
  worker: Worker;
  jobs: number;
}

export class Decoder {
  private threads: Thread[] = [];
  private waiting = new Map<number, { thread: Thread; done: (d: DecodeDone) => void }>();
  private next = 0;
  private module: Promise<WebAssembly.Module>;

  constructor() {
    this.module = WebAssembly.compileStreaming(fetch(wasmUrl));
    this.add();
  }

  /** More threads, once the first image is there. */
  grow(): void {
    const want = Math.min(4, Math.max(1, (navigator.hardwareConcurrency || 2) - 1));
    while (this.threads.length < want) this.add();
  }

  private add(): void {
    const worker = new DecodeWorker();
    const thread = { worker, jobs: 0 };
    worker.onmessage = (m: MessageEvent<DecodeDone>) => {
      const w = this.waiting.get(m.data.id);
      this.waiting.delete(m.data.id);
      thread.jobs--;
      w?.done(m.data);
    };
    void this.module.then((module) => worker.postMessage({ module }));
    this.threads.push(thread);
  }

  async decode(bytes: Uint8Array, level: number): Promise<Exclude<DecodeDone, { error: string }>> {
    await this.module;
    const thread = this.threads.reduce((a, b) => (b.jobs < a.jobs ? b : a));
    const id = this.next++;
    thread.jobs++;
    const done = await new Promise<DecodeDone>((resolve) => {
      this.waiting.set(id, { thread, done: resolve });
      thread.worker.postMessage({ id, bytes, level } satisfies DecodeJob);
    });
    if ('error' in done) throw new Error(done.error);
    return done;
  }
}

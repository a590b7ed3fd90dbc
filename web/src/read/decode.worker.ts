/* HTJ2K on a thread of its own.  The compiled WASM comes from the page: one compilation for all. */
import factory, { type OpenJph } from '@cornerstonejs/codec-openjph';

export interface DecodeJob {
  id: number;
  bytes: Uint8Array;
  level: number; // 0: full size
}

export type DecodeDone =
  | { id: number; cols: number; rows: number; components: number; bits: number; signed: boolean; data: Uint8Array }
  | { id: number; error: string };

let codec: Promise<OpenJph> | undefined;

function start(module: WebAssembly.Module): Promise<OpenJph> {
  return factory({
    instantiateWasm: (imports, done) => {
      void WebAssembly.instantiate(module, imports).then((i) => done(i));
      return {};
    },
    print: () => undefined,
    printErr: () => undefined,
  });
}

function decode(lib: OpenJph, job: DecodeJob): DecodeDone {
  const d = new lib.HTJ2KDecoder();
  try {
    d.getEncodedBuffer(job.bytes.length).set(job.bytes);
    d.readHeader();
    const level = Math.min(job.level, d.getNumDecompositions());
    d.decodeSubResolution(level);
    const info = d.getFrameInfo();
    const size = d.calculateSizeAtDecompositionLevel(level);
    return {
      id: job.id,
      cols: size.width,
      rows: size.height,
      components: info.componentCount,
      bits: info.bitsPerSample,
      signed: info.isSigned,
      data: d.getDecodedBuffer().slice(),
    };
  } catch (e) {
    return { id: job.id, error: String(e) };
  } finally {
    d.delete();
  }
}

self.onmessage = (m: MessageEvent<{ module: WebAssembly.Module } | DecodeJob>) => {
  if ('module' in m.data) {
    codec = start(m.data.module);
    return;
  }
  const job = m.data;
  void codec
    ?.then((lib) => decode(lib, job))
    .catch((e: unknown) => ({ id: job.id, error: String(e) }) satisfies DecodeDone)
    .then((done) => self.postMessage(done, 'data' in done ? { transfer: [done.data.buffer] } : {}));
};

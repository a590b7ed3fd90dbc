declare module '@cornerstonejs/codec-openjph' {
  export interface FrameInfo {
    width: number;
    height: number;
    bitsPerSample: number;
    componentCount: number;
    isSigned: boolean;
  }
  export interface HTJ2KDecoder {
    getEncodedBuffer(size: number): Uint8Array;
    getDecodedBuffer(): Uint8Array;
    readHeader(): void;
    calculateSizeAtDecompositionLevel(level: number): { width: number; height: number };
    decode(): void;
    decodeSubResolution(level: number): void;
    getFrameInfo(): FrameInfo;
    getNumDecompositions(): number;
    delete(): void;
  }
  export interface OpenJph {
    HTJ2KDecoder: new () => HTJ2KDecoder;
  }
  const factory: (options: {
    instantiateWasm?: (imports: WebAssembly.Imports, done: (i: WebAssembly.Instance) => void) => object;
    locateFile?: (name: string) => string;
    print?: (s: string) => void;
    printErr?: (s: string) => void;
  }) => Promise<OpenJph>;
  export default factory;
}

/* What a stored transfer syntax lets the reader ask for. */

export type Way =
  | 'htj2k-progressive' // by resolution: HTJ2K in RPCL order
  | 'htj2k'
  | 'jpeg' // 8 bits, by the browser
  | 'raw' // uncompressed, transcoded by the server when it must
  | 'rendered'; // a picture made by the server

const JPHC: Record<string, Way> = {
  '1.2.840.10008.1.2.4.201': 'htj2k',
  '1.2.840.10008.1.2.4.202': 'htj2k-progressive',
  '1.2.840.10008.1.2.4.203': 'htj2k',
};

export function wayOf(f: { syntax?: string; photo?: string; samples?: number; alloc?: number; stored?: number }): Way {
  const photo = f.photo ?? 'MONOCHROME2';
  const way = JPHC[f.syntax ?? ''];
  const grey = photo === 'MONOCHROME1' || photo === 'MONOCHROME2';
  if (way && (grey || photo === 'RGB' || photo.startsWith('YBR_RCT') || photo.startsWith('YBR_ICT'))) return way;
  // A browser takes three components for YCbCr, whatever the image says.
  if (f.syntax === '1.2.840.10008.1.2.4.50' && f.stored === 8 && (grey || photo.startsWith('YBR_FULL'))) return 'jpeg';
  const plain = (grey && (f.samples ?? 1) === 1) || photo === 'RGB';
  return plain && (f.alloc === 8 || f.alloc === 16) ? 'raw' : 'rendered';
}

export const ACCEPT: Record<Way, string> = {
  'htj2k-progressive': 'image/jphc; transfer-syntax=1.2.840.10008.1.2.4.202',
  htj2k: 'image/jphc; transfer-syntax=*',
  jpeg: 'image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50',
  raw: 'application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1',
  rendered: 'image/png, image/jpeg;q=0.9',
};

/** Bytes of the beginning, as a part of all, that hold a resolution 2^-level; measured, with room. */
const SHARE = [1, 0.3, 0.09, 0.03, 0.01, 0.004];

/** The finest level that the beginning holds. */
export function levelFor(have: number, total: number): number {
  const i = SHARE.findIndex((s) => have >= total * s);
  return i < 0 ? SHARE.length - 1 : i;
}

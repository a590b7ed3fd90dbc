/** The single part of a multipart body; servers that know no other answer give it. */
export function onlyPart(body: Uint8Array, type: string): { bytes: Uint8Array; type: string } {
  const boundary = /boundary="?([^";]+)"?/i.exec(type)?.[1];
  if (!/^multipart\//i.test(type) || !boundary) return { bytes: body, type };
  const head = new TextDecoder('latin1').decode(body.subarray(0, 2048));
  const at = head.indexOf('\r\n\r\n');
  const inner = /content-type:\s*([^\r\n]+)/i.exec(head.slice(0, at))?.[1] ?? 'application/octet-stream';
  const tail = `\r\n--${boundary}--`.length;
  let end = body.length - tail;
  if (body[body.length - 1] === 10) end -= 2; // and a line end after it
  return { bytes: body.subarray(at + 4, end), type: inner };
}

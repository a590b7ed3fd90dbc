// The DICOMweb client that OHIF is built on (npm dicomweb-client), on Node: argv root, token, study, series, instance.
// Prints one line of JSON: what each retrieval gave.
const { createRequire } = require("module");
const { createHash } = require("crypto");

class Xhr { // as much of XMLHttpRequest as the client uses
  open(method, url) { this.method = method; this.url = url; this.headers = {}; }
  setRequestHeader(k, v) { this.headers[k] = v; }
  getResponseHeader(k) { return this.answer.headers.get(k); }
  getAllResponseHeaders() { return [...this.answer.headers].map(([k, v]) => `${k}: ${v}`).join("\r\n"); }
  async send(body) {
    this.answer = await fetch(this.url, { method: this.method.toUpperCase(), headers: this.headers, body });
    this.status = this.answer.status;
    const bytes = await this.answer.arrayBuffer();
    this.response = this.responseType === "json" && this.status === 200 ? JSON.parse(Buffer.from(bytes).toString()) : bytes;
    this.readyState = 4;
    this.onreadystatechange();
  }
}
globalThis.XMLHttpRequest = Xhr;
globalThis.window = globalThis;
const { api } = createRequire(process.argv[2] + "/")("dicomweb-client");
const [root, token, studyInstanceUID, seriesInstanceUID, sopInstanceUID] = process.argv.slice(3);
const sha = (b) => createHash("sha256").update(Buffer.from(b)).digest("hex");

(async () => {
  const client = new api.DICOMwebClient({ url: root, headers: { Authorization: `Bearer ${token}` } });
  const one = { studyInstanceUID, seriesInstanceUID, sopInstanceUID };
  const of = { studyInstanceUID, seriesInstanceUID };
  const stored = [{ mediaType: "application/octet-stream", transferSyntaxUID: "*" }];
  const out = {};
  out.studyMetadata = (await client.retrieveStudyMetadata({ studyInstanceUID })).length;
  out.seriesMetadata = (await client.retrieveSeriesMetadata(of)).length;
  out.instanceMetadata = (await client.retrieveInstanceMetadata(one))[0]["00080018"].Value[0];
  out.instance = sha(await client.retrieveInstance(one));
  out.series = (await client.retrieveSeries(of)).length;
  out.study = (await client.retrieveStudy({ studyInstanceUID })).length;
  out.frames = (await client.retrieveInstanceFrames({ ...one, frameNumbers: [1] })).map(sha);
  out.framesStored = (await client.retrieveInstanceFrames({ ...one, frameNumbers: [1], mediaTypes: stored })).map(sha);
  const uri = (await client.retrieveSeriesMetadata(of)).find((m) => m["00080018"].Value[0] === sopInstanceUID)["7FE00010"].BulkDataURI;
  out.bulk = (await client.retrieveBulkData({ BulkDataURI: `${root}/studies/${studyInstanceUID}/${uri}` })).map(sha);
  out.bulkRange = (await client.retrieveBulkData({ BulkDataURI: `${root}/studies/${studyInstanceUID}/${uri}`, byteRange: [0, 99] })).map((b) => b.byteLength);
  console.log(JSON.stringify(out));
})().catch((e) => { console.error(e, e.status); process.exit(1); });

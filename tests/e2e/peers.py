"""Foreign peers other than DCMTK's stock clients: GDCM, Orthanc both ways, dcmjs-dimse, TLS with certificates."""
import os

from lib import *

need("storescu")


def test_gdcm_echo_store_find_move(t):
    need("gdcmscu")
    n = t.node()
    ds, files = make_series(t.tmp / "in", 3)
    who = ["--aetitle", "GDCMSCU", "--call", "PURPAN", n.host, n.port]
    # Debian's gdcmscu 3.0.21 aborts itself after the release, with any server: what counts is what it did before
    sh("gdcmscu", "--echo", *who, ok=None)
    check(n.metric("garonne_echoes_total") == 1, "echo")
    sh("gdcmscu", "--store", *who, *files, ok=None)
    check(n.metric("garonne_images_stored_total") == 3, "store")
    sh("gdcmscu", "--find", "--studyroot", "--study", "--key", f"20,d={ds.StudyInstanceUID}", "--key", "10,10=", "-V", *who, ok=None)
    check(n.metric("garonne_associations_aborted_total") == 0, "in order")
    check(n.metric("garonne_find_answers_total") == 1, "find")
    n.stop()


def test_orthanc_sends_and_receives(t):
    n = t.node()
    o = t.orthanc(modalities={"garonne": ["PURPAN", n.host, n.port]})
    n.cli("peer", "add", "ORTHANC", "--tenant", "PURPAN", "--host", "127.0.0.1", "--port", o.dicom)
    ds, files = make_series(t.tmp / "in", 6)
    for f in files:
        http_json(o.http + "/instances", data=f.read_bytes(), method="POST")
    http_json(o.http + "/modalities/garonne/echo", data={}, method="POST")
    studies = http_json(o.http + "/studies")
    r = http_json(o.http + "/modalities/garonne/store", data=studies, method="POST")
    check(r["InstancesCount"] == 6 and r["FailedInstancesCount"] == 0, r)
    q = http_json(o.http + "/modalities/garonne/query", data={"Level": "Study", "Query": {"StudyInstanceUID": ds.StudyInstanceUID, "PatientName": ""}}, method="POST")
    a = http_json(o.http + q["Path"] + "/answers/0/content?simplify")
    check(a["PatientName"] == "DUPONT^JEAN", a)
    for s in studies:
        http_json(o.http + f"/studies/{s}", method="DELETE")
    check(http_json(o.http + "/instances") == [], "emptied")
    http_json(o.http + q["Path"] + "/answers/0/retrieve", data=b"ORTHANC", method="POST")  # C-MOVE back to itself
    check(len(http_json(o.http + "/instances")) == 6, "moved back")
    n.stop()


DCMJS = """
const { Client, requests, Dataset, constants } = require('dcmjs-dimse');
const [host, port, file, study] = process.argv.slice(2);
const { CEchoRequest, CStoreRequest, CFindRequest, CGetRequest } = requests;
const { Status } = constants;
function run(reqs) {
  return new Promise((ok, no) => {
    const c = new Client();
    let stored = 0;
    for (const r of reqs) { r.on('response', (x) => { if (x.getStatus() !== Status.Success && x.getStatus() !== Status.Pending) no(new Error('status ' + x.getStatus())); if (x.hasDataset && x.hasDataset()) console.log('row', x.getDataset().getElement('PatientName'), x.getDataset().getElement('StudyInstanceUID')); }); c.addRequest(r); }
    c.on('cStoreRequest', (q, cb) => { stored++; const { CStoreResponse } = require('dcmjs-dimse').responses; const a = CStoreResponse.fromRequest(q); a.setStatus(Status.Success); cb(a); });
    c.on('networkError', no); c.on('associationRejected', no); c.on('closed', () => ok(stored));
    c.send(host, Number(port), 'ANY', 'PURPAN');
  });
}
(async () => {
  await run([new CEchoRequest()]);
  await run([new CStoreRequest(file)]);
  await run([CFindRequest.createStudyFindRequest({ StudyInstanceUID: study, PatientName: '' })]);
  const got = await run([CGetRequest.createStudyGetRequest(study)]);
  console.log('got', got);
})().catch((e) => { console.error(e); process.exit(1); });
"""


def test_dcmjs_dimse(t):
    need("node")
    modules = SOURCE / "tests/node_modules"
    if not (modules / "dcmjs-dimse").is_dir():
        raise Skip("npm packages of the tests are not installed: make setup")
    n = t.node()
    ds = make_image(t.tmp / "one.dcm")
    (t.tmp / "scu.js").write_text(DCMJS)
    out = sh("node", t.tmp / "scu.js", n.host, n.port, t.tmp / "one.dcm", ds.StudyInstanceUID, env=dict(os.environ, NODE_PATH=str(modules)))
    check("row" in out and str(ds.StudyInstanceUID) in out, out[-2000:])
    check("got 1" in out, out[-2000:])
    n.stop()


def authority(tmp):
    """A certificate authority and two leaf certificates of this hour."""
    def leaf(name):
        sh("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp / f"{name}.key", "-out", tmp / f"{name}.csr", "-subj", f"/CN={name}")
        (tmp / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        sh("openssl", "x509", "-req", "-in", tmp / f"{name}.csr", "-CA", tmp / "ca.pem", "-CAkey", tmp / "ca.key", "-CAcreateserial", "-days", "2",
           "-extfile", tmp / "ext", "-out", tmp / f"{name}.pem")
    sh("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp / "ca.key", "-out", tmp / "ca.pem", "-days", "2", "-subj", "/CN=Test CA")
    leaf("node")
    leaf("ct1")
    leaf("other")


def test_tls_with_client_certificates(t):
    need("openssl")
    authority(t.tmp)
    (t.tmp / "garonne.yaml").write_text(f"""dimse:
  tls:
    listen: 127.0.0.1:0
    cert: {t.tmp}/node.pem
    key: {t.tmp}/node.key
    ca: {t.tmp}/ca.pem
    peer_cert: true
""")
    n = t.node("--config", t.tmp / "garonne.yaml")
    der = subprocess.run(["openssl", "x509", "-in", t.tmp / "ct1.pem", "-outform", "DER"], stdout=subprocess.PIPE, check=True).stdout
    n.cli("peer", "add", "CT1", "--tenant", "PURPAN", "--cert", __import__("hashlib").sha256(der).hexdigest())
    port = n.addr["dimse_tls"].rsplit(":", 1)[1]
    tls = lambda who: ["+tls", t.tmp / f"{who}.key", t.tmp / f"{who}.pem", "+cf", t.tmp / "ca.pem"]
    ds, files = make_series(t.tmp / "in", 3)
    sh("storescu", *tls("ct1"), "-aet", "CT1", "-aec", "PURPAN", n.host, port, *files)
    out = sh("echoscu", *tls("other"), "-aet", "CT1", "-aec", "PURPAN", n.host, port, ok=None)
    check("Calling AE Title Not Recognized" in out, out)  # a good certificate, but not this peer's
    check(sh("echoscu", "+tla", "+cf", t.tmp / "ca.pem", "-aec", "PURPAN", n.host, port, ok=None) != "", "no certificate: refused")
    out = sh("echoscu", "-aet", "CT1", "-aec", "PURPAN", n.host, n.port, ok=None)
    check("Calling AE Title Not Recognized" in out, "the same peer without TLS")
    sh("echoscu", "-to", "5", "-aec", "PURPAN", n.host, port, ok=1)  # plain talk to the TLS port
    sh("echoscu", *tls("ct1"), "-aet", "CT1", "-aec", "PURPAN", n.host, port)
    n.stop()


run(globals())

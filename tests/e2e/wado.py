"""WADO-RS and WADO-URI (PS3.18 sections 10.4 and 9) against curl, pydicom, npm dicomweb-client and Orthanc."""
import email
import gzip
import hashlib
import http.client
import io
import json
import urllib.parse
import xml.etree.ElementTree

import pydicom

from lib import *

ANY = 'multipart/related; type="application/dicom"; transfer-syntax=*'
FRAME = "multipart/related; type=application/octet-stream; transfer-syntax=*"


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        self.type = headers.get("Content-Type", "")

    def json(self):
        body = gzip.decompress(self.body) if self.headers.get("Content-Encoding") == "gzip" else self.body
        return json.loads(body)

    def parts(self):
        """Of a multipart: [(headers, bytes)]."""
        m = email.message_from_bytes(b"Content-Type: " + self.type.encode() + b"\r\n\r\n")
        boundary = b"--" + m.get_boundary().encode()
        pieces = (b"\r\n" + self.body).split(b"\r\n" + boundary)
        check(pieces[-1] == b"--\r\n" or pieces[-1] == b"--", "the multipart does not end", pieces[-1][:20])
        out = []
        for p in pieces[1:-1]:
            head, data = p[2:].split(b"\r\n\r\n", 1)
            out.append((email.message_from_bytes(head), data))
        return out

    def want(self, status, type=None):
        check(self.status == status, f"{self.status}, not {status}:", self.body[:300])
        check(type is None or self.type.startswith(type), f"{self.type} is not {type}")
        return self


class Web:
    def __init__(self, node, tenant="PURPAN", role="radiologist"):
        self.node = node
        self.host = node.addr["http"]
        self.token = node.cli("token", "add", "--tenant", tenant, "--role", role).split()[0]
        self.root = "/dicomweb"

    def get(self, path, accept=None, method="GET", root=True, **headers):
        c = http.client.HTTPConnection(self.host, timeout=60)
        h = {k.replace("_", "-"): v for k, v in headers.items()}
        if accept:
            h["Accept"] = accept
        if "Authorization" not in h:
            h["Authorization"] = f"Bearer {self.token}"
        c.request(method, (self.root if root else "") + path, headers=h)
        r = c.getresponse()
        a = Answer(r.status, r.headers, r.read())
        c.close()
        return a


def of(ds, level="instance"):
    path = f"/studies/{ds.StudyInstanceUID}"
    if level != "study":
        path += f"/series/{ds.SeriesInstanceUID}"
    if level == "instance":
        path += f"/instances/{ds.SOPInstanceUID}"
    return path


def store(node, folder):
    node.cli("import", folder, "--tenant", "PURPAN")


def sealed(t, n=3, **kw):
    """A node with one sealed series; its data sets."""
    _, files = make_series(t.tmp / "in", n, **kw)
    node = t.node(start=False)
    store(node, t.tmp / "in")
    node.start()
    wait_for(lambda: not list((t.tmp / "data").rglob("*.tar.open")))
    return node, Web(node), [pydicom.dcmread(f) for f in files]


def data_set(raw):
    f = pathlib.Path(tempfile.mkstemp()[1])
    f.write_bytes(raw)
    d = data_set_bytes(f)
    f.unlink()
    return d


def test_instances_come_out_byte_for_byte(t):
    node, web, sets = sealed(t)
    files = {pydicom.dcmread(f).SOPInstanceUID: data_set_bytes(f) for f in (t.tmp / "in").glob("*.dcm")}
    a = web.get(of(sets[0]), "application/dicom; transfer-syntax=*").want(200, "application/dicom")
    check(data_set(a.body) == files[sets[0].SOPInstanceUID], "the data set differs")
    a = web.get(of(sets[0]), ANY).want(200, 'multipart/related; type="application/dicom"')
    (head, body), = a.parts()
    check(head["Content-Type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1", head)
    check(data_set(body) == files[sets[0].SOPInstanceUID], "the data set differs")
    for level in "series", "study":
        a = web.get(of(sets[0], level), ANY).want(200)
        check(int(a.headers["Content-Length"]) == len(a.body))
        got = {pydicom.dcmread(io.BytesIO(b)).SOPInstanceUID: data_set(b) for _, b in a.parts()}
        check(got == files, level, "differs")
    node.stop()


def test_metadata_at_three_levels(t):
    node, web, sets = sealed(t)
    for level, n in ("study", 3), ("series", 3), ("instance", 1):
        plain = web.get(of(sets[0], level) + "/metadata").want(200, "application/dicom+json")
        zipped = web.get(of(sets[0], level) + "/metadata", Accept_Encoding="gzip").want(200)
        check(plain.json() == zipped.json() and len(plain.json()) == n, level, len(plain.json()))
        check(int(plain.headers["Content-Length"]) == len(plain.body))
        check(level == "instance" or zipped.headers["Content-Encoding"] == "gzip")
        etag = zipped.headers["ETag"]
        web.get(of(sets[0], level) + "/metadata", Accept_Encoding="gzip", If_None_Match=etag).want(304)
        for d in plain.json():
            ds = pydicom.Dataset.from_json(d, bulk_data_uri_handler=lambda *a: b"")
            check(ds.PatientName == "DUPONT^JEAN")
            uri = urllib.parse.urljoin(f"http://{web.host}{web.root}{of(sets[0], level)}/metadata",
                                       d["7FE00010"]["BulkDataURI"])
            check(uri.endswith(f"/instances/{ds.SOPInstanceUID}/bulkdata/7FE00010"), uri)
    node.stop()


def test_metadata_in_xml(t):
    node, web, sets = sealed(t)
    for level, n in ("study", 3), ("series", 3), ("instance", 1):
        parts = web.get(of(sets[0], level) + "/metadata", 'multipart/related; type="application/dicom+xml"').want(
            200, 'multipart/related; type="application/dicom+xml"').parts()
        check(len(parts) == n, level, len(parts))
        for head, body in parts:
            check(head["Content-Type"] == "application/dicom+xml", head)
            root = xml.etree.ElementTree.fromstring(body)
            tags = {e.get("tag"): e for e in root}
            check(tags["00100010"].find(".//{*}FamilyName").text == "DUPONT")
            uri = tags["7FE00010"].find("{*}BulkData").get("uri")
            check(uri.startswith(f"http://{web.host}/dicomweb/studies/"), uri)
            check(len(web.get(uri[len(f"http://{web.host}/dicomweb"):], "application/octet-stream").want(200).body) == 8192)
    web.get(of(sets[0]) + "/metadata", "application/dicom+xml").want(406)
    node.stop()


def test_frames_are_sent_as_they_lie(t):
    node, web, sets = sealed(t)
    path = of(sets[1]) + "/frames/1"
    (head, body), = web.get(path, FRAME).want(200, "multipart/related").parts()
    check(body == sets[1].PixelData, "pixels differ")
    check(head["Content-Type"] == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1", head)
    a = web.get(path, "application/octet-stream").want(200, "application/octet-stream")
    check(a.body == sets[1].PixelData)
    a = web.get(path, FRAME, Range="bytes=10-19").want(206, "application/octet-stream")
    check(a.body == sets[1].PixelData[10:20])
    check(a.headers["Content-Range"] == f"bytes 10-19/{len(sets[1].PixelData)}", a.headers["Content-Range"])
    web.get(path, FRAME, Range="bytes=99999999-").want(416)
    web.get(of(sets[1]) + "/frames/2", FRAME).want(404)
    web.get(of(sets[1]) + "/frames/0", FRAME).want(400)
    web.get(of(sets[1]) + "/frames/1,x", FRAME).want(400)
    web.get(path, "image/gif").want(406)
    h = web.get(path, "application/octet-stream", method="HEAD").want(200)
    check(int(h.headers["Content-Length"]) == len(sets[1].PixelData) and not h.body)
    node.stop()


def test_bulk_data_is_what_metadata_says(t):
    """Every BulkDataURI of ordinary and odd objects gives the value of the element; nested, big endian, deflated."""
    (t.tmp / "in").mkdir()
    ds = make_image(t.tmp / "in/a.dcm", rows=32, cols=32)
    item = pydicom.Dataset()
    item.add_new(0x00420011, "OB", bytes(range(256)) * 40)
    item.add_new(0x00420012, "LO", "text/html")
    ds.add_new(0x00409096, "SQ", [pydicom.Dataset(), item])
    ds.add_new(0x00420011, "OB", b"%PDF-1.4 " + bytes(9991))
    ds.add_new(0x00420012, "LO", "application/pdf")
    ds.add_new(0x00281201, "OW", bytes(range(200)) * 3)
    ds.save_as(t.tmp / "in/a.dcm", write_like_original=False)
    sets = [ds]
    for name, flag in ("big", "+tb"), ("deflated", "+td"):
        d = pydicom.dcmread(t.tmp / "in/a.dcm")
        d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = uid()
        d.save_as(t.tmp / "x.dcm", write_like_original=False)
        sh("dcmconv", flag, t.tmp / "x.dcm", t.tmp / f"in/{name}.dcm")
        sets.append(d)
    node = t.node(start=False)
    store(node, t.tmp / "in")
    node.start()
    web = Web(node)
    base = f"http://{web.host}{web.root}"

    def walk(d, json, url, found):
        for key, v in json.items():
            el = d[int(key[:4], 16), int(key[4:], 16)] if (int(key[:4], 16), int(key[4:], 16)) in d else None
            if "BulkDataURI" in v:
                found.append((urllib.parse.urljoin(url, v["BulkDataURI"])[len(base):], el.value))
            elif v["vr"] == "SQ":
                for i, item in enumerate(v.get("Value", [])):
                    walk(el.value[i], item, url, found)

    for ds in sets:
        for level in "instance", "series", "study":
            url = of(ds, level) + "/metadata"
            json, = [j for j in web.get(url).want(200).json() if j["00080018"]["Value"] == [ds.SOPInstanceUID]]
            found = []
            walk(ds, json, base + url, found)
            check(len(found) >= 4, found)
            for path, value in found:
                a = web.get(path, "application/octet-stream").want(200)
                check(a.body == value, path, len(a.body), len(value))
                (head, body), = web.get(path, 'multipart/related; type="application/octet-stream"').want(200).parts()
                check(body == value and head["Content-Type"] == "application/octet-stream")
                a = web.get(path, "*/*", Range="bytes=100-299").want(206)
                check(a.body == value[100:300], path)
    check(web.get(of(ds) + "/bulkdata/00420011").type == "application/pdf")
    check(web.get(of(ds) + "/bulkdata/00409096/2/00420011").type == "application/octet-stream")
    web.get(of(ds) + "/bulkdata/00409096/3/00420011").want(404)
    web.get(of(ds) + "/bulkdata/00409096/0/00420011").want(404)
    web.get(of(ds) + "/bulkdata/00409096").want(404)
    for bad in "", "x", "7FE00010/1", "7FE0001", "00409096//00420011", "00409096/2/00420011/":
        web.get(of(ds) + "/bulkdata/" + bad).want(400)
    node.stop()


def test_without_a_named_syntax_it_is_explicit_little_endian(t):
    """PS3.18 8.7.3.5.2; the stored one is implicit."""
    ds = make_image(t.tmp / "x.dcm")
    (t.tmp / "in").mkdir()
    sh("dcmconv", "+ti", t.tmp / "x.dcm", t.tmp / "in/x.dcm")
    node = t.node(start=False)
    store(node, t.tmp / "in")
    node.start()
    web = Web(node)
    raw = data_set_bytes(t.tmp / "in/x.dcm")
    for level in "instance", "series", "study":
        (head, body), = web.get(of(ds, level), 'multipart/related; type="application/dicom"').want(200).parts()
        check(head["Content-Type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1", head["Content-Type"])
        got = pydicom.dcmread(io.BytesIO(body))
        check(got.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1" and not got.is_implicit_VR)
        check(got.PixelData == ds.PixelData and got.PatientName == ds.PatientName)
        for accept in ANY, None, "*/*":
            (head, body), = web.get(of(ds, level), accept).want(200).parts()
            check(head["Content-Type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2", head["Content-Type"])
            check(data_set(body) == raw, "differs")
    a = web.get(of(ds), "application/dicom").want(200, "application/dicom; transfer-syntax=1.2.840.10008.1.2.1")
    check(pydicom.dcmread(io.BytesIO(a.body)).PixelData == ds.PixelData)
    a = web.get(of(ds), "application/dicom;transfer-syntax=1.2.840.10008.1.2.4.100").want(406)
    check("transfer-syntax=1.2.840.10008.1.2.1" in a.json()["message"], a.body)
    web.get(of(ds, "study"), 'multipart/related; type="application/dicom"; transfer-syntax=1.2.3').want(406)
    node.stop()


def test_compressed_frames_come_as_stored_decoded_or_recoded(t):
    (t.tmp / "in").mkdir()
    ds = make_image(t.tmp / "x.dcm", modality="OT", rows=60, cols=50, bits=8)
    frames = [bytes((x * y * (k + 1) >> 3) & 255 for y in range(60) for x in range(50)) for k in range(3)]
    ds.NumberOfFrames, ds.PixelData = 3, b"".join(frames)
    ds.save_as(t.tmp / "x.dcm", write_like_original=False)
    sh("dcmcrle", t.tmp / "x.dcm", t.tmp / "in/rle.dcm")
    jls = pydicom.dcmread(t.tmp / "x.dcm")
    jls.SOPInstanceUID = jls.file_meta.MediaStorageSOPInstanceUID = uid()
    jls.save_as(t.tmp / "y.dcm", write_like_original=False)
    sh("dcmcjpls", "+fs", "1", t.tmp / "y.dcm", t.tmp / "in/jls.dcm")  # fragments of 1 KiB
    node = t.node(start=False)
    store(node, t.tmp / "in")
    node.start()
    web = Web(node)
    for d, syntax, media in (ds, "1.2.840.10008.1.2.5", "image/dicom-rle"), (jls, "1.2.840.10008.1.2.4.80", "image/jls"):
        for accept in FRAME, f"multipart/related; type={media}", None, f'multipart/related; type="{media}"; transfer-syntax={syntax}':
            parts = web.get(of(d) + "/frames/1,3", accept).want(200, f'multipart/related; type="{media}"').parts()
            check([h["Content-Type"] for h, _ in parts] == [f"{media}; transfer-syntax={syntax}"] * 2, parts[0][0])
            check(parts[1][0]["Content-Location"] == f"http://{web.host}/dicomweb{of(d)}/frames/3", parts[1][0])
        stored = parts[0][1]
        part = web.get(of(d) + "/frames/1", FRAME, Range="bytes=5-24").want(206, f"{media}; transfer-syntax={syntax}")
        check(part.body == stored[5:25] and part.headers["Content-Range"] == f"bytes 5-24/{len(stored)}")
        check(web.get(of(d) + "/frames/1", media).want(200, media).body == stored)
        parts = web.get(of(d) + "/frames/2,1,3", 'multipart/related; type="application/octet-stream"').want(200).parts()
        check([b for _, b in parts] == [frames[1], frames[0], frames[2]], "decoded frames differ")
        check(parts[0][0]["Content-Type"] == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1", parts[0][0])
        check(web.get(of(d) + "/frames/3", "application/octet-stream").want(200).body == frames[2])
        a = web.get(of(d) + "/frames/2", "image/jphc; transfer-syntax=1.2.840.10008.1.2.4.202").want(200, "image/jphc; transfer-syntax=1.2.840.10008.1.2.4.202")
        check(a.body[:4] == b"\xff\x4f\xff\x51", a.body[:4])
        check(len(web.get(of(d) + "/bulkdata/7FE00010").want(200).parts()) == 3)
        a = web.get(of(d), "application/dicom").want(200, "application/dicom; transfer-syntax=1.2.840.10008.1.2.1")
        check(pydicom.dcmread(io.BytesIO(a.body)).PixelData == b"".join(frames), "decoded object differs")
    parts = web.get(of(ds, "study"), 'multipart/related; type="application/dicom"').want(200).parts()
    check(len(parts) == 2 and all(pydicom.dcmread(io.BytesIO(b)).PixelData == b"".join(frames) for _, b in parts))
    a = web.get(of(ds, "study"), 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.5').want(200)
    check(all(h["Content-Type"].endswith("=1.2.840.10008.1.2.5") for h, _ in a.parts()) and len(a.parts()) == 2)
    node.stop()


def test_frames_of_one_bit_begin_with_a_byte(t):
    (t.tmp / "in").mkdir()
    ds = make_image(t.tmp / "in/x.dcm", modality="OT", rows=7, cols=5, bits=8)
    bits = [[(i * i + k) % 3 == 0 for i in range(35)] for k in range(4)]
    pack = lambda v: bytes(sum(b << i for i, b in enumerate(v[at:at + 8])) for at in range(0, len(v), 8))
    ds.NumberOfFrames, ds.BitsAllocated, ds.BitsStored, ds.HighBit = 4, 1, 1, 0
    ds.PixelData = pack(sum(bits, []))
    ds.save_as(t.tmp / "in/x.dcm", write_like_original=False)
    for sealed in False, True:
        node = t.node(name=f"data{sealed}", start=not sealed)
        if sealed:
            store(node, t.tmp / "in")
            node.start()
        else:
            node.dcmtk("storescu", t.tmp / "in/x.dcm", calling="STORESCU")
        parts = Web(node).get(of(ds) + "/frames/1,2,3,4", FRAME).want(200).parts()
        check([b for _, b in parts] == [pack(b) for b in bits], sealed, parts)
        check((not list(t.tmp.rglob("data*/**/*.tar.open"))) == sealed)
        node.stop()
        shutil.rmtree(t.tmp / f"data{sealed}")


def test_what_is_not_there_or_no_uid_is_refused(t):
    node, web, sets = sealed(t)
    web.get("/studies/1.2.3", ANY).want(404)
    web.get(f"/studies/{sets[0].StudyInstanceUID}/series/1.2.3/metadata").want(404)
    web.get(of(sets[0], "series") + "/instances/1.2.3", ANY).want(404)
    web.get("/studies/1.2.3%2f..%2f..", ANY).want(404)
    web.get("/studies/..%2f..%2fetc/series/1/metadata").want(404)
    web.get("/studies/a%20b/metadata").want(400)
    web.get("/studies/.hidden/metadata").want(400)
    web.get(of(sets[0]), "text/html").want(406)
    web.get(of(sets[0]), ANY, Authorization="Bearer x").want(401)
    node.cli("tenant", "add", "OTHER", "--name", "Other", "--aet", "OTHER")
    other = Web(node, "OTHER")
    for path in of(sets[0]), of(sets[0], "study"), of(sets[0]) + "/frames/1", of(sets[0], "series") + "/metadata":
        other.get(path).want(404)
    node.stop()


def test_the_client_of_ohif_reads_all_of_it(t):
    need("node")
    if not (SOURCE / "tests/node_modules/dicomweb-client").is_dir():
        raise Skip("npm ci in tests/ first")
    node, web, sets = sealed(t)
    ds = sets[1]
    out = sh("node", SOURCE / "tests/e2e/dicomweb_client.cjs", SOURCE / "tests", f"http://{web.host}/dicomweb", web.token,
             ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    got = json.loads(out.splitlines()[-1])
    pixels = hashlib.sha256(ds.PixelData).hexdigest()
    check(got["studyMetadata"] == got["seriesMetadata"] == got["series"] == got["study"] == 3, got)
    check(got["instanceMetadata"] == ds.SOPInstanceUID, got)
    check(got["frames"] == got["framesStored"] == got["bulk"] == [pixels], got)
    check(got["bulkRange"] == [100], got)
    body = web.get(of(ds), "application/dicom; transfer-syntax=*").body
    check(got["instance"] == hashlib.sha256(body).hexdigest(), got)
    node.stop()


def test_orthanc_retrieves_a_study_from_us(t):
    plugin = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
    if not os.path.exists(plugin):
        raise Skip("orthanc-dicomweb is not installed")
    node, web, sets = sealed(t)
    o = t.orthanc(Plugins=[plugin], DicomWeb={"Enable": True, "Servers": {"garonne": {
        "Url": f"http://{web.host}/dicomweb/", "HttpHeaders": {"Authorization": f"Bearer {web.token}"}}}})
    got = http_json(o.http + "/dicom-web/servers/garonne/retrieve", {
        "Resources": [{"Study": sets[0].StudyInstanceUID}], "Synchronous": True})
    check(len(http_json(o.http + "/instances")) == 3, got)
    for i in http_json(o.http + "/instances"):
        raw = urllib.request.urlopen(f"{o.http}/instances/{i}/file").read()
        ds = pydicom.dcmread(io.BytesIO(raw))
        ours, = [s for s in sets if s.SOPInstanceUID == ds.SOPInstanceUID]
        check(ds.PixelData == ours.PixelData and ds.PatientName == ours.PatientName)
    node.stop()


def test_wado_uri(t):
    node, web, sets = sealed(t)
    ds = sets[0]
    ask = {"requestType": "WADO", "studyUID": ds.StudyInstanceUID, "seriesUID": ds.SeriesInstanceUID,
           "objectUID": ds.SOPInstanceUID, "contentType": "application/dicom"}
    get = lambda **kw: web.get("/wado?" + urllib.parse.urlencode({k: v for k, v in {**ask, **kw}.items() if v is not None}))
    whole = web.get(of(ds), "application/dicom; transfer-syntax=*").body
    a = get().want(200, "application/dicom; transfer-syntax=1.2.840.10008.1.2.1")
    check(a.body == whole)
    got = pydicom.dcmread(io.BytesIO(get(transferSyntax="1.2.840.10008.1.2").want(200).body))
    check(got.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2" and got.PixelData == ds.PixelData)
    get(transferSyntax="1.2.840.10008.1.2.4.100").want(406)
    get(transferSyntax="x").want(400)
    get(anonymize="yes").want(400)
    get(requestType="QIDO").want(400)
    get(requestType=None).want(400)
    get(objectUID=None).want(400)
    get(seriesUID="../..").want(400)
    get(objectUID="1.2.3").want(404)
    get(contentType="text/html").want(406)
    node.stop()


def test_a_series_that_still_arrives_is_read(t):
    node = t.node()
    web = Web(node)
    ds, files = make_series(t.tmp / "in", 6)
    sets = [pydicom.dcmread(f) for f in files]
    for n in 1, 3, 6:
        node.dcmtk("storescu", *files[:n], calling="STORESCU")
        a = web.get(of(sets[n - 1]) + "/frames/1", FRAME).want(200)  # at once, though the view is a moment old
        check(a.parts()[0][1] == sets[n - 1].PixelData)
        wait_for(lambda: len(web.get(of(ds, "series") + "/metadata", Accept_Encoding="gzip").want(200).json()) == n, 5)
        check(len(web.get(of(ds, "study"), ANY).want(200).parts()) == n)
    check(list((t.tmp / "data").rglob("*.tar.open")), "sealed already")
    etag = web.get(of(ds, "series") + "/metadata").headers["ETag"]
    node.dcmtk("storescu", make(t, ds), calling="STORESCU")
    wait_for(lambda: web.get(of(ds, "series") + "/metadata").headers["ETag"] != etag, 5)
    node.stop()


def make(t, ds):
    """One image more of the series."""
    make_image(t.tmp / "more.dcm", study=ds.StudyInstanceUID, series=ds.SeriesInstanceUID, number=99)
    return t.tmp / "more.dcm"


def test_large_objects_stream_in_little_memory_and_a_cancelled_one_frees_all(t):
    """400 MB of pixels, whole, in ranges, and given up in the middle."""
    (t.tmp / "in").mkdir()
    ds = make_image(t.tmp / "in/big.dcm", modality="OT", rows=4096, cols=4096, bits=8)
    n, size = 24, 4096 * 4096
    ds.NumberOfFrames = n
    ds.PixelData = b"".join(bytes([k]) * size for k in range(n))
    ds.save_as(t.tmp / "in/big.dcm", write_like_original=False)
    node = t.node("--log", "debug", start=False)
    store(node, t.tmp / "in")
    node.start()
    web = Web(node)
    web.get(of(ds, "series") + "/metadata").want(200)
    before = node.rss_kb("VmRSS")
    fds = lambda: len(os.listdir(f"/proc/{node.p.pid}/fd"))
    threads = lambda: len(os.listdir(f"/proc/{node.p.pid}/task"))
    open_before = fds()

    def read(path, accept, take=None):
        c = http.client.HTTPConnection(web.host, timeout=60)
        c.request("GET", web.root + path, headers={"Accept": accept, "Authorization": f"Bearer {web.token}"})
        r = c.getresponse()
        check(r.status == 200, r.status)
        got = 0
        while take is None or got < take:
            b = r.read(1 << 20)
            if not b:
                break
            got += len(b)
        c.close()
        return got, r.headers

    for path, accept in (of(ds), ANY), (of(ds, "study"), ANY), (of(ds), "application/dicom; transfer-syntax=*"), \
            (of(ds) + "/bulkdata/7FE00010", "application/octet-stream"), \
            (of(ds), "application/dicom; transfer-syntax=1.2.840.10008.1.2"):  # the last one is converted
        got, headers = read(path, accept)
        check(got >= n * size, path, got)
        check("implicit" if headers.get("Content-Length") is None else int(headers["Content-Length"]) == got)
        for _ in range(3):
            read(path, accept, 3 << 20)
    a = web.get(of(ds) + f"/frames/{n}", "application/octet-stream").want(200)
    check(a.body == bytes([n - 1]) * size)
    grown = node.rss_kb() - before
    check(grown < (200 if SANITIZED else 60) << 10, f"grew by {grown} KiB")
    wait_for(lambda: fds() <= open_before, 10)
    wait_for(lambda: "feed" not in [open(f"/proc/{node.p.pid}/task/{x}/comm").read().strip() for x in os.listdir(f"/proc/{node.p.pid}/task")], 10)
    node.stop()


if __name__ == "__main__":
    run(globals())

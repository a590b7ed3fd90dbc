"""STOW-RS (PS3.18 10.5): what is acknowledged is there, byte for byte; what is wrong is said precisely; nothing harms others."""
import http.client
import io
import os
import pathlib
import socket
import threading
import time

import pydicom
import pydicom.encaps
from pydicom.uid import generate_uid

from lib import *

FILE = "application/dicom"
JSON = "application/dicom+json"


class Web:
    def __init__(self, node, role="service", tenant="PURPAN"):
        self.node, self.host = node, node.addr["http"]
        self.token = token(node, tenant, role)

    def connect(self, timeout=60):
        return http.client.HTTPConnection(self.host, timeout=timeout)

    def post(self, body, type, path="/studies", conn=None, root="/dicomweb", **headers):
        c = conn or self.connect()
        h = {"Authorization": f"Bearer {self.token}", "Content-Type": type, **{k.replace("_", "-"): v for k, v in headers.items()}}
        c.request("POST", root + path, body, {k: v for k, v in h.items() if v is not None})
        r = c.getresponse()
        data = r.read()
        if conn is None:
            c.close()
        try:
            answer = json.loads(data)
        except ValueError:
            answer = data
        return r.status, answer

    def store(self, files, **kw):
        return self.post(body(files), multipart(), **kw)

    def stored(self, path):
        """The data set of an instance as it lies in the archive."""
        c = self.connect()
        c.request("GET", "/dicomweb" + path, headers={"Authorization": f"Bearer {self.token}",
                                                      "Accept": 'application/dicom; transfer-syntax=*'})
        r = c.getresponse()
        data = r.read()
        check(r.status == 200, f"{path}: {r.status} {data[:200]}")
        f = io.BytesIO(data)
        ds = pydicom.dcmread(f, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
        at = 132 + 12 + ds.file_meta.FileMetaInformationGroupLength
        return data[at:]


def multipart(type=FILE, boundary="some-boundary"):
    return f'multipart/related; type="{type}"; boundary={boundary}'


def body(parts, type=FILE, boundary="some-boundary"):
    """Parts: bytes, or (headers, bytes)."""
    out = []
    for p in parts:
        head, data = p if isinstance(p, tuple) else (f"Content-Type: {type}", p)
        out.append(f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n")
    return b"".join(out) + f"--{boundary}--\r\n".encode()


def path_of(ds):
    return f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


def items(answer, tag):
    return answer.get(tag, {}).get("Value", [])


def sops(answer, tag="00081199"):
    return {i["00081155"]["Value"][0] for i in items(answer, tag)}


def reasons(answer):
    return [i["00081197"]["Value"][0] for tag in ("00081198", "0008119A") for i in items(answer, tag)]


def samples():
    """Files of pydicom of many syntaxes, with meta information."""
    folder = pathlib.Path(pydicom.__file__).parent / "data/test_files"
    for p in sorted(folder.glob("*.dcm")):
        raw = p.read_bytes()
        try:
            ds = pydicom.dcmread(p, stop_before_pixels=True)
            ok = raw[128:132] == b"DICM" and ds.StudyInstanceUID and ds.SeriesInstanceUID and \
                ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID and \
                ds.file_meta.MediaStorageSOPClassUID == ds.SOPClassUID and "FileMetaInformationGroupLength" in ds.file_meta
        except Exception:
            ok = False
        if ok:
            yield p, ds, raw


def test_objects_are_stored_byte_for_byte(t):
    n = t.node()
    w = Web(n)
    all_of_them = list(samples())
    check(len(all_of_them) >= 30, len(all_of_them))
    first = {}
    for p, ds, raw in all_of_them:
        first.setdefault(ds.SOPInstanceUID, (p, ds, raw))  # some test files share a UID
    status, answer = w.store([raw for _, _, raw in first.values()])
    check(status == 200, status, str(answer)[:500])
    check(sops(answer) == set(first), "not all are named")
    for p, ds, raw in first.values():
        at = 132 + 12 + ds.file_meta.FileMetaInformationGroupLength
        check(w.stored(path_of(ds)) == raw[at:], f"{p.name}: other bytes")
    link = items(answer, "00081199")[0]["00081190"]["Value"][0]
    check(link.startswith(n.http + "/dicomweb/studies/"), link)
    status, answer = w.store([raw for _, _, raw in first.values()])
    check(status == 200 and len(items(answer, "00081199")) == len(first), "duplicates are successes")
    print(f"  {len(first)} files")
    n.stop()
    n.cli("verify")


def test_answers_are_precise(t):
    n = t.node()
    w = Web(n)
    ds, files = make_series(t.tmp / "in", 3)
    raw = [f.read_bytes() for f in files]
    study = ds.StudyInstanceUID
    status, a = w.store(raw[:1], path=f"/studies/{study}")
    check(status == 200 and a["00081190"]["Value"] == [f"{n.http}/dicomweb/studies/{study}"], a)
    status, a = w.store(raw[1:2], path="/studies/1.2.3")
    check(status == 409 and reasons(a) == [0xA900], status, a)
    status, a = w.store([raw[1], b"garbage", raw[2][:200]])
    check(status == 202 and len(sops(a)) == 1 and reasons(a) == [0xC000, 0xC000], status, a)
    changed = raw[0].replace(b"DUPONT^JEAN", b"DURAND^JEAN")
    check(changed != raw[0], "same")
    status, a = w.store([changed])
    check(status == 202 and items(a, "00081199")[0]["00081196"]["Value"] == [0xB000], status, a)
    meta = raw[2].replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.5.1.4.1.1.4\0", 1)  # of the meta information alone
    status, a = w.store([meta])
    check(status == 409 and reasons(a) == [0xA900], status, a)
    check(w.post(raw[2], FILE)[0] == 200, "single part")
    for type, data, want in ((multipart(), b"", 400), (multipart(), body([])[:10], 400), (FILE, b"", 400), ("text/plain", b"x", 415),
                             (multipart("image/png"), body([b"x"]), 415), ("multipart/related; type=application/dicom", b"x", 400),
                             ("x", b"x", 400), (None, b"x", 400), (multipart(), body(raw)[:-20], 400),
                             (multipart(), body([("Content-Type: text/plain", b"x")]), 400),
                             (multipart(), body([("X" * 20000 + ": 1", b"x")]), 413)):
        status, a = w.post(data, type)
        check(status == want, f"{type} {data[:30]}: {status}, not {want}: {a}")
    check(w.post(body(raw), multipart(), Content_Encoding="gzip")[0] == 415, "gzip")
    check(w.post(body(raw), multipart(), Accept="image/png")[0] == 406, "Accept")
    check(w.post(body(raw), multipart(), path="/studies/a%20b")[0] == 400, "a path")
    check(w.post(body(raw), multipart(), path="/studies/..%2f..%2fx")[0] == 404, "a path with tricks")
    status, a = w.post(body(raw), multipart(), Accept="application/dicom+xml")
    check(status == 200 and a.startswith(b"<?xml") and b'tag="00081199"' in a, a)
    check(w.post(body(raw), multipart(), Authorization="Bearer x")[0] == 401, "no token")
    n.cli("tenant", "add", "OTHER", "--name", "x", "--aet", "OTHER")
    check(w.post(body(raw), multipart(), root="/t/OTHER/dicomweb")[0] == 404, "another tenant")
    check(w.post(body(raw), multipart(), root="/t/PURPAN/dicomweb")[0] == 200, "this tenant")
    check(Web(n, "clinician").store(raw)[0] == 403, "a role that may not")
    # refused before a large body is sent
    s = socket.create_connection(w.host.split(":"), 10)
    s.sendall(b"POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nAuthorization: Bearer " + w.token.encode() +
              b"\r\nContent-Length: 100000000\r\n\r\n")
    check(b" 415 " in s.recv(1000), "at once")
    n.stop()


def test_bodies_cut_anywhere(t):
    """One byte a write, chunked, broken off: the parser and the archive see no difference, or nothing."""
    n = t.node()
    w = Web(n)
    ds, files = make_series(t.tmp / "in", 2, rows=8, cols=8)
    data = body([f.read_bytes() for f in files])
    head = f"POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {w.token}\r\nContent-Type: {multipart()}\r\n"
    s = socket.create_connection(w.host.split(":"), 10)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
    for i in range(0, len(data), 7):
        s.sendall(b"%x\r\n%s\r\n" % (len(data[i:i + 7]), data[i:i + 7]))
    s.sendall(b"0\r\n\r\n")
    check(b" 200 OK" in s.recv(1000), "chunked")
    s.close()
    ds, files = make_series(t.tmp / "again", 2, rows=64, cols=64)
    data = body([f.read_bytes() for f in files])
    for cut in (1, 100, 400, 2000, len(data) // 2 + 500, len(data) - 3):
        s = socket.create_connection(w.host.split(":"), 10)
        s.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data[:cut])
        time.sleep(0.05)
        s.close()
    # a length that is too short: the body ends without its boundary, and what follows is no request
    s = socket.create_connection(w.host.split(":"), 10)
    s.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % (len(data) - 50) + data)
    check(b" 400 " in s.recv(1000), "too short")
    s.close()
    check(w.store([f.read_bytes() for f in files])[0] == 200, "goes on")
    for f in files:
        x = pydicom.dcmread(f)
        check(w.stored(path_of(x)) == data_set_bytes(f), "other bytes")
    n.stop()
    n.cli("verify")


def test_killed_in_the_middle_nothing_acknowledged_is_lost(t):
    n = t.node()
    done, stop = [], threading.Event()

    def sender(k):
        w = Web.__new__(Web)
        w.node, w.host, w.token = n, web.host, web.token
        ds, files = make_series(t.tmp / f"in{k}", 40, rows=64, cols=64)
        raw = [f.read_bytes() for f in files]
        i = 0
        try:
            while not stop.is_set() and i < 40:
                status, a = w.store(raw[i:i + 4])
                if status == 200:
                    done.extend(sops(a))
                i += 4
        except (OSError, http.client.HTTPException):
            pass

    web = Web(n)
    threads = [threading.Thread(target=sender, args=(k,)) for k in range(4)]
    for x in threads:
        x.start()
    wait_for(lambda: len(done) > 30, 30)
    n.kill()
    stop.set()
    for x in threads:
        x.join()
    acknowledged = set(done)
    n.start()
    w = Web(n)
    there = set()
    offset = 0
    while True:
        c = w.connect()
        c.request("GET", f"/dicomweb/instances?limit=100&offset={offset}", headers={"Authorization": f"Bearer {w.token}"})
        r = c.getresponse()
        page = json.loads(r.read() or b"[]")
        there |= {x["00080018"]["Value"][0] for x in page}
        if len(page) < 100:
            break
        offset += 100
    check(acknowledged <= there, f"{len(acknowledged - there)} of {len(acknowledged)} are lost")
    print(f"  {len(acknowledged)} acknowledged, {len(there)} there")
    n.stop()
    n.cli("verify")


def big_body(ds, size):
    """Head and tail of a multipart body with one object of that size, and how many zeros lie between."""
    ds.Rows = ds.Columns = 0x8000
    f = io.BytesIO()
    ds.PixelData = b""
    ds.save_as(f, write_like_original=False)
    raw = f.getvalue()
    at = raw.rindex(b"\xe0\x7f\x10\x00")
    raw = raw[:at] + b"\xe0\x7f\x10\x00OW\0\0" + size.to_bytes(4, "little")
    one = body([raw])
    cut = one.rindex(b"\r\n--")
    return one[:cut], size, one[cut:]


def test_memory_is_flat_however_large_the_object(t):
    n = t.node()
    w = Web(n)
    ds, files = make_series(t.tmp / "in", 1)
    check(w.store([files[0].read_bytes()])[0] == 200, "small")
    x = pydicom.dcmread(files[0])
    x.SOPInstanceUID = x.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    x.SeriesInstanceUID = generate_uid()
    size = 2 << 30
    head, zeros, tail = big_body(x, size)
    before = n.rss_kb()
    c = w.connect(timeout=600)
    c.putrequest("POST", "/dicomweb/studies")
    for k, v in (("Authorization", f"Bearer {w.token}"), ("Content-Type", multipart()),
                 ("Content-Length", len(head) + zeros + len(tail))):
        c.putheader(k, v)
    c.endheaders()
    t0 = time.monotonic()
    c.send(head)
    block = bytes(1 << 20)
    for _ in range(zeros >> 20):
        c.send(block)
    c.send(tail)
    r = c.getresponse()
    answer = r.read()
    took = time.monotonic() - t0
    check(r.status == 200, r.status, answer[:300])
    grown = n.rss_kb() - before
    print(f"  2 GiB in {took:.1f} s, {size / took / 1e6:.0f} MB/s, memory + {grown} KB")
    check(grown < 32 << 10, f"{grown} KB more for one large object")
    n.stop()


def test_slow_writers_do_not_hold_up_others(t):
    n = t.node()
    w = Web(n)
    ds, files = make_series(t.tmp / "in", 20)
    slow = []
    for k in range(64):
        s = socket.create_connection(w.host.split(":"), 10)
        s.sendall(f"POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {w.token}\r\nContent-Type: {multipart()}\r\n"
                  f"Content-Length: 100000\r\n\r\n".encode() + body([files[0].read_bytes()])[:1000 + k])
        slow.append(s)
    t0 = time.monotonic()
    for f in files:
        check(w.store([f.read_bytes()])[0] == 200, "stored beside 64 slow ones")
    took = time.monotonic() - t0
    check(took < 10, f"{took:.1f} s for 20 objects")
    for s in slow:
        s.close()
    check(w.store([files[0].read_bytes()])[0] == 200, "and after them")
    n.stop()


def test_a_full_disk_is_507_and_goes_on(t):
    if os.geteuid() != 0:
        raise Skip("needs root for a small tmpfs")
    small = t.tmp / "small"
    small.mkdir()
    sh("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small)
    try:
        n = Node(small / "data", start=False)
        t.nodes.append(n)
        n.log = t.tmp / "node.log"  # not on the full disk
        n.start()
        w = Web(n)
        ds, files = make_series(t.tmp / "in", 60, rows=512, cols=512)
        seen, ok = set(), []
        for f in files:
            status, a = w.store([f.read_bytes()])
            seen.add(status)
            if status == 200:
                ok.append(f)
            else:
                check(reasons(a) == [0xA700], a)
        check(seen == {200, 507}, seen)
        status, a = w.store([files[0].read_bytes(), files[-1].read_bytes()])
        check(status == 507 and reasons(a) == [0xA700, 0xA700], status, a)
        n.stop()
        sh("mount", "-o", "remount,size=96m", small)
        n.start()
        status, a = w.__class__(n).store([f.read_bytes() for f in files])
        check(status == 200 and len(sops(a)) == 60, status)
        print(f"  {len(ok)} of 60 stored on 24 MB, all after it was made larger")
        n.stop()
        n.cli("verify")
    finally:
        for n in t.nodes:
            n.kill()
        sh("umount", small, ok=None)


def model_of(path):
    """The JSON model of a file with its bulk data by element, pixel data in fragments as a list."""
    ds = pydicom.dcmread(path)
    bulk = {}

    def handler(element):
        at = f"bulk/{len(bulk)}"
        bulk[at] = element.value
        return at

    if ds.file_meta.TransferSyntaxUID.is_compressed:
        bulk["bulk/pixels"] = list(pydicom.encaps.decode_data_sequence(ds.PixelData))
        del ds.PixelData
    m = ds.to_json_dict(bulk_data_threshold=64, bulk_data_element_handler=handler)
    if "bulk/pixels" in bulk:
        m["7FE00010"] = {"vr": "OB", "BulkDataURI": "bulk/pixels"}
    return m, bulk


def model_body(models, bulk, type, syntax=None, meta=JSON):
    parts = [(f"Content-Type: {meta}", json.dumps(models).encode() if meta == JSON else models)]
    for at, data in bulk.items():
        for one in data if isinstance(data, list) else [data]:
            kind = type if isinstance(data, list) else "application/octet-stream"
            kind += f"; transfer-syntax={syntax}" if syntax and isinstance(data, list) else ""
            parts.append((f"Content-Type: {kind}\r\nContent-Location: {at}", one))
    return body(parts)


def same_object(a, b, what):
    """But for the character set, which JSON and XML change, and group lengths."""
    left = {e.tag: e for e in a if e.tag != 0x00080005 and e.tag.element != 0}
    right = {e.tag: e for e in b if e.tag != 0x00080005 and e.tag.element != 0}
    check(set(left) == set(right), what, "other elements", set(left) ^ set(right))
    for tag, e in left.items():
        if tag == 0x7FE00010 and getattr(a, "fragments", False):
            check(list(pydicom.encaps.decode_data_sequence(e.value)) == list(pydicom.encaps.decode_data_sequence(right[tag].value)),
                  what, "other fragments")
        elif e.VR == "SQ":
            check(len(e.value) == len(right[tag].value), what, tag)
            for x, y in zip(e.value, right[tag].value):
                same_object(x, y, f"{what} {tag}")
        else:
            check(str(e.value).strip() == str(right[tag].value).strip() or e.value == right[tag].value, what, tag,
                  repr(e.value)[:80], "is", repr(right[tag].value)[:80])


def test_metadata_and_bulk_data_become_objects(t):
    n = t.node()
    w = Web(n)
    folder = pathlib.Path(pydicom.__file__).parent / "data/test_files"
    for name, type, said in (("CT_small.dcm", "", False), ("rtplan.dcm", "", False), ("MR_small.dcm", "", False),
                             ("JPEG-lossy.dcm", "image/jpeg", False), ("SC_rgb_jpeg_dcmtk.dcm", "image/jpeg", False),
                             ("SC_rgb_jpeg_gdcm.dcm", "image/jpeg", False), ("MR_small_jp2klossless.dcm", "image/jp2", False),
                             ("MR_small_RLE.dcm", "image/dicom-rle", True), ("SC_rgb_rle_2frame.dcm", "image/dicom-rle", False),
                             ("MR_small_jpeg_ls_lossless.dcm", "image/jls", True)):
        path = folder / name
        m, bulk = model_of(path)
        ds = pydicom.dcmread(path)
        ds.SOPInstanceUID = uid()  # some of these files share theirs
        m["00080018"]["Value"] = [ds.SOPInstanceUID]
        ds.fragments = ds.file_meta.TransferSyntaxUID.is_compressed
        status, a = w.post(model_body([m], bulk, type, ds.file_meta.TransferSyntaxUID if said else None), multipart(JSON))
        check(status == 200, name, status, a)
        c = w.connect()
        c.request("GET", "/dicomweb" + path_of(ds), headers={"Authorization": f"Bearer {w.token}",
                                                             "Accept": "application/dicom; transfer-syntax=*"})
        got = pydicom.dcmread(io.BytesIO(c.getresponse().read()))
        if ds.fragments:
            check(got.file_meta.TransferSyntaxUID == ds.file_meta.TransferSyntaxUID, name, got.file_meta.TransferSyntaxUID)
        same_object(ds, got, name)
    n.stop()
    n.cli("verify")


def test_metadata_in_xml_and_several_at_once(t):
    n = t.node()
    w = Web(n)
    tool = str(BUILD / "dicom_xml_test")
    ds, files = make_series(t.tmp / "in", 3, rows=16, cols=16)
    parts = []
    for k, f in enumerate(files):
        xml = subprocess.run([tool, "to-xml", str(f)], stdout=subprocess.PIPE, check=True).stdout.replace(
            b'uri="/bulk/7FE00010"', f'uri="http://sender/bulk/{k}"'.encode())
        parts.append(("Content-Type: application/dicom+xml; transfer-syntax=1.2.840.10008.1.2.1", xml))
    for k, f in enumerate(files):
        parts.append((f"Content-Type: application/octet-stream\r\nContent-Location: http://sender/bulk/{k}", pydicom.dcmread(f).PixelData))
    status, a = w.post(body(parts[:-1]), multipart("application/dicom+xml"))
    check(status == 202 and len(sops(a)) == 2 and reasons(a) == [0xC000], "one part is missing", status, a)
    status, a = w.post(body(parts), multipart("application/dicom+xml"))
    check(status == 200 and len(sops(a)) == 3, status, a)
    for f in files:
        c = w.connect()
        x = pydicom.dcmread(f)
        c.request("GET", "/dicomweb" + path_of(x), headers={"Authorization": f"Bearer {w.token}",
                                                            "Accept": "application/dicom; transfer-syntax=*"})
        same_object(x, pydicom.dcmread(io.BytesIO(c.getresponse().read())), f.name)
    m, bulk = model_of(files[0])
    m["00080018"]["Value"] = [uid()]
    status, a = w.post(model_body([m], bulk, ""), multipart(JSON), path="/studies/1.2.3")
    check(status == 409 and reasons(a) == [0xA900], status, a)
    for data, want in ((b"[{", 400), (b"[]", 400), (b"{}", 400), (b"[" * 100000, 400), (b'[{"00080018":{"vr":"XX"}}]', 400)):
        status, a = w.post(body([data], JSON), multipart(JSON))
        check(status == want, data[:20], status, a)
    bomb = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><NativeDicomModel><DicomAttribute tag="00100020" vr="LO"><Value>&x;' \
           b"</Value></DicomAttribute></NativeDicomModel>"
    check(w.post(body([bomb], "application/dicom+xml"), multipart("application/dicom+xml"))[0] == 400, "entities")
    check(w.post(body([(f"Content-Type: {JSON}", b"[]"), ("Content-Type: image/jpeg", b"x")]), multipart(JSON))[0] == 400, "no location")
    n.stop()


def test_many_small_objects(t):
    """The issue's figure is 1,000 a second with four clients; here the machine is shared, so a third of it must do."""
    n = t.node()
    w = Web(n)
    sets = []
    for k in range(4):
        ds, files = make_series(t.tmp / f"in{k}", 200, rows=16, cols=16)
        sets.append([f.read_bytes() for f in files])
    wrong = []

    def sender(raw):
        c = w.connect()
        for one in raw:
            status, a = w.store([one], conn=c)
            if status != 200:
                wrong.append((status, a))

    threads = [threading.Thread(target=sender, args=(s,)) for s in sets]
    t0 = time.monotonic()
    for x in threads:
        x.start()
    for x in threads:
        x.join()
    rate = 800 / (time.monotonic() - t0)
    check(not wrong, wrong[:2])
    print(f"  {rate:.0f} objects of {len(sets[0][0])} bytes a second, durable, one a request, 4 clients")
    check(rate > 300, f"{rate:.0f} a second")
    n.stop()


DICOMWEB_CLIENT = """
const { createRequire } = require('module');
const fs = require('fs');
class Xhr { // as much of XMLHttpRequest as the client uses
  open(method, url) { this.method = method; this.url = url; this.head = {}; this.upload = {}; }
  setRequestHeader(k, v) { this.head[k] = v; }
  getResponseHeader(k) { return this.answer.headers.get(k); }
  getAllResponseHeaders() { return [...this.answer.headers].map(([k, v]) => `${k}: ${v}`).join('\\r\\n'); }
  async send(body) {
    this.answer = await fetch(this.url, { method: this.method.toUpperCase(), headers: this.head, body });
    this.status = this.answer.status;
    this.response = await this.answer.text();
    this.readyState = 4;
    this.onreadystatechange();
  }
}
globalThis.XMLHttpRequest = Xhr;
globalThis.window = globalThis;
const { api } = createRequire(process.argv[2] + '/')('dicomweb-client');
const [root, token, ...files] = process.argv.slice(3);
const client = new api.DICOMwebClient({ url: root, headers: { Authorization: 'Bearer ' + token } });
const datasets = files.map((f) => { const b = fs.readFileSync(f); return b.buffer.slice(b.byteOffset, b.byteOffset + b.length); });
client.storeInstances({ datasets }).then(() => console.log('stored'), (e) => { console.log(e); process.exit(1); });
"""


def test_the_viewers_library_stores(t):
    need("node")
    if not (SOURCE / "tests/node_modules/dicomweb-client").is_dir():
        raise Skip("npm ci in tests/ first")
    n = t.node()
    w = Web(n)
    ds, files = make_series(t.tmp / "in", 3)
    (t.tmp / "store.cjs").write_text(DICOMWEB_CLIENT)
    check("stored" in sh("node", t.tmp / "store.cjs", SOURCE / "tests", n.http + "/dicomweb", w.token, *files))
    for f in files:
        check(w.stored(path_of(pydicom.dcmread(f))) == data_set_bytes(f), "other bytes")
    n.stop()


def test_orthanc_sends(t):
    need("Orthanc")
    plugin = next((p for p in ("/usr/share/orthanc/plugins/libOrthancDicomWeb.so", "/usr/lib/orthanc/libOrthancDicomWeb.so")
                   if os.path.exists(p)), None)
    if plugin is None:
        raise Skip("no DICOMweb plugin")
    n = t.node()
    w = Web(n)
    o = t.orthanc(Plugins=[plugin], DicomWeb={"Servers": {"garonne": {"Url": n.http + "/dicomweb/", "HttpHeaders": {
        "Authorization": f"Bearer {w.token}"}}}})
    ds, files = make_series(t.tmp / "in", 12)
    for f in files:
        http_json(o.http + "/instances", data=f.read_bytes(), method="POST")
    study = http_json(o.http + "/studies")
    r = http_json(o.http + "/dicom-web/servers/garonne/stow", data={"Resources": study, "Synchronous": True}, method="POST")
    check(int(r["InstancesCount"]) == 12, r)
    for f in files:
        check(w.stored(path_of(pydicom.dcmread(f))) == data_set_bytes(f), "other bytes")
    n.stop()


if __name__ == "__main__":
    run(globals())

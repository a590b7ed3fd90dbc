"""What every end-to-end test needs: a node on free ports, foreign tools, studies made here, a tiny test runner.

A test program is a file with functions test_*(t); run(globals()) calls each with a fresh Tmp folder, prints what failed,
and exits 0, 1, or 77 when a needed tool is missing.
"""
import datetime
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

SOURCE = pathlib.Path(os.environ.get("GARONNE_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("GARONNE_BUILD", SOURCE / "build"))
SANITIZED = BUILD.name == "build-asan"  # freed memory is kept for a while there: limits of memory are other ones
GARONNE = str(BUILD / "src/prog/garonne")
_corpus = pathlib.Path(os.environ.get("GARONNE_CORPUS", SOURCE.parent / "shared/corpus"))
CORPUS = _corpus if _corpus.is_dir() else None  # foreign files; tests that use them say so when they are absent


class Failed(Exception):
    pass


def check(ok, *what):
    if not ok:
        raise Failed(" ".join(str(w) for w in what) or "check failed")


def need(*tools):
    for tool in tools:
        if shutil.which(tool) is None:
            print(f"skipped: {tool} is not installed")
            sys.exit(77)


def wait_for(what, seconds=20, every=0.05):
    """The first true value of what(), or Failed."""
    end = time.monotonic() + seconds
    while True:
        v = what()
        if v:
            return v
        if time.monotonic() > end:
            raise Failed(f"waited {seconds} s for {getattr(what, '__name__', what)}")
        time.sleep(every)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def sh(*args, ok=0, timeout=120, cwd=None, env=None, stdin=None):
    """Run a command; the exit code must be ok (None: any).  Returns stdout + stderr as text."""
    args = [str(a) for a in args]
    p = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, cwd=cwd,
                       env=env, input=stdin)
    out = p.stdout.decode("utf-8", "replace")
    if ok is not None and p.returncode != ok:
        raise Failed(f"{' '.join(args[:12])}\nexit {p.returncode}, not {ok}\n{out[-3000:]}")
    return out


def garonne(*args, ok=0, timeout=120, env=None):
    return sh(GARONNE, *args, ok=ok, timeout=timeout, env=env)


class Node:
    """`garonne serve` on a data folder, with tenants; ports chosen by the kernel."""

    def __init__(self, data, *flags, tenants=("PURPAN",), peers=True, env=None, start=True):
        self.data, self.flags, self.env = str(data), flags, env
        self.log = pathlib.Path(self.data).parent / (pathlib.Path(self.data).name + ".log")
        self.p = None
        for code in tenants:
            if not os.path.exists(f"{self.data}/garonne-{code}"):
                self.cli("tenant", "add", code, "--name", f"Hospital {code}", "--aet", code)
                if peers:
                    for aet in ("STORESCU", "ANY", "FINDSCU", "MOVESCU", "GETSCU", "ECHOSCU", "DCMSEND", "GDCMSCU"):
                        self.cli("peer", "add", aet, "--tenant", code)
        if start:
            self.start()

    def cli(self, *args, ok=0, timeout=120):
        return garonne(*args, "--data", self.data, *(["--db", self.db()] if self.db() else []), ok=ok, timeout=timeout)

    def db(self):
        f = list(self.flags)
        return f[f.index("--db") + 1] if "--db" in f else None

    def start(self, timeout=30):
        env = dict(os.environ, **(self.env or {}))
        self.err = open(self.log, "ab")
        self.p = subprocess.Popen([GARONNE, "serve", "--data", self.data, "--http", "127.0.0.1:0", "--dimse",
                                   "127.0.0.1:0", *self.flags], stdout=subprocess.PIPE, stderr=self.err, env=env)
        line = self.p.stdout.readline().decode()
        if not line.startswith("listening "):
            self.p.wait(5)
            raise Failed(f"node did not start: {line!r}\n{self.log.read_text()[-2000:]}")
        self.addr = dict(x.split("=", 1) for x in line.split()[1:])
        self.host, port = self.addr["dimse"].rsplit(":", 1)
        self.port = int(port)
        self.http = "http://" + self.addr["http"]
        return self

    def get(self, path):
        with urllib.request.urlopen(self.http + path, timeout=10) as r:
            return r.read().decode()

    def metric(self, name):
        for line in self.get("/metrics").splitlines():
            if line.startswith(name + " ") or line.startswith(name + "{"):
                return float(line.rsplit(" ", 1)[1])
        return None

    def stop(self, seconds=20):
        """SIGTERM; the exit code must be 0."""
        if self.p is None:
            return
        self.p.send_signal(signal.SIGTERM)
        rc = self.p.wait(seconds)
        self.p = None
        check(rc == 0, f"SIGTERM gave exit code {rc}\n{self.log.read_text()[-2000:]}")

    def kill(self):
        if self.p is not None:
            self.p.kill()
            self.p.wait()
            self.p = None

    def rss_kb(self, key="VmHWM"):
        for line in open(f"/proc/{self.p.pid}/status"):
            if line.startswith(key):
                return int(line.split()[1])

    # the DCMTK clients, with the options that each test adds
    def dcmtk(self, tool, *args, called="PURPAN", calling=None, ok=0, timeout=300):
        aet = ["-aet", calling] if calling else []
        return sh(tool, *aet, "-aec", called, self.host, self.port, *args, ok=ok, timeout=timeout)

    def find(self, *keys, level="STUDY", root="-S", called="PURPAN", calling="FINDSCU", out=None, ok=0):
        """C-FIND with findscu; the answers as pydicom data sets."""
        import pydicom
        out = pathlib.Path(out or tempfile.mkdtemp(dir=pathlib.Path(self.data).parent))
        k = [x for key in (f"QueryRetrieveLevel={level}", *keys) for x in ("-k", key)]
        sh("findscu", root, "-X", "-od", out, "-aet", calling, "-aec", called, self.host, self.port, *k, ok=ok)
        return [pydicom.dcmread(f, force=True) for f in sorted(out.glob("rsp*.dcm"))]


def token(n, tenant="PURPAN", role="radiologist", *flags):
    return n.cli("token", "add", "--tenant", tenant, "--role", role, *flags).strip()


def ask(n, path, token=None, ok=200, method="GET", headers=None, root="/dicomweb"):
    """(JSON or text, headers) of an answer with that status."""
    h = dict(headers or {})
    if token:
        h["Authorization"] = f"Bearer {token}"
    req = urllib.request.Request(n.http + root + path, headers=h, method=method)
    try:
        with urllib.request.urlopen(req, timeout=30) as r:
            status, body, got = r.status, r.read(), r.headers
    except urllib.error.HTTPError as e:
        status, body, got = e.code, e.read(), e.headers
    check(status == ok, path, "gave", status, "not", ok, body[:300])
    try:
        return json.loads(body), got
    except ValueError:
        return body.decode("utf-8", "replace"), got


def uid(n=[0]):
    n[0] += 1
    return f"1.2.826.0.1.3680043.10.1519.{os.getpid()}.{int(time.time() * 1000) % 10**9}.{n[0]}"


def make_image(path, modality="CT", study=None, series=None, sop=None, number=1, rows=64, cols=64, name="DUPONT^JEAN",
               pid="IPP0001", bits=16, seed=1, **attrs):
    """One small, valid image (dciodvfy-clean enough for every peer) written with pydicom; returns the data set."""
    import numpy
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian
    classes = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4", "CR": "1.2.840.10008.5.1.4.1.1.1",
               "US": "1.2.840.10008.5.1.4.1.1.6.1", "OT": "1.2.840.10008.5.1.4.1.1.7"}
    ds = FileDataset(str(path), {}, preamble=b"\0" * 128)
    ds.is_little_endian, ds.is_implicit_VR = True, False
    ds.SpecificCharacterSet = attrs.pop("SpecificCharacterSet", "ISO_IR 100")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID, ds.SOPInstanceUID = classes[modality], sop or uid()
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20260115"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101500"
    ds.AccessionNumber, ds.Modality, ds.Manufacturer = "ACC1", modality, "Garonne tests"
    ds.ReferringPhysicianName, ds.StudyDescription, ds.SeriesDescription = "MARTIN^ANNE", "SCANNER THORAX", "AXIAL 1 MM"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = name, pid, "19700401", "M"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study or uid(), series or uid()
    ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = "S1", 1, 1, number
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator, ds.PatientPosition = ds.StudyInstanceUID + ".9", "", "HFS"
    if modality in ("CT", "MR"):
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, float(number)], [1, 0, 0, 0, 1, 0]
        ds.SliceThickness, ds.PixelSpacing = "1", ["0.5", "0.5"]
    if modality == "CT":
        ds.KVP, ds.RescaleIntercept, ds.RescaleSlope = "120", "-1024", "1"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = rows, cols, bits, bits, bits - 1
    ds.PixelRepresentation = 0
    rng = numpy.random.default_rng(seed * 100003 + number)
    ds.PixelData = rng.integers(0, 1 << min(bits, 12), rows * cols, dtype=numpy.uint16 if bits == 16 else numpy.uint8).tobytes()
    for k, v in attrs.items():
        setattr(ds, k, v)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta = meta
    ds.save_as(str(path), write_like_original=False)
    return ds


def make_series(folder, n, **kw):
    """n images of one series, quickly: one pydicom image, its UID, number and pixels changed in the bytes."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kw.setdefault("study", uid())
    kw.setdefault("series", uid())
    base = uid()
    files = []
    first = folder / "img00001.dcm"
    width = 6
    ds = make_image(first, sop=f"{base}.{'1' * width}", **{**kw, "number": 100001})
    raw = first.read_bytes()
    for i in range(n):
        f = folder / f"img{i + 1:05d}.dcm"
        b = raw.replace(f"{base}.{'1' * width}".encode(), f"{base}.{100001 + i}".encode())
        b = b.replace(b"100001", str(100001 + i).encode()) if i else b
        b = b[:-8] + i.to_bytes(8, "little")
        f.write_bytes(b)
        files.append(f)
    return ds, files


def data_set_bytes(path):
    """The bytes after the file meta information (group 0002 by its tags: its length is wrong in some files): what
    C-STORE carries and the archive must keep."""
    raw = pathlib.Path(path).read_bytes()
    at = 132
    if raw[128:132] != b"DICM":
        return raw
    while raw[at:at + 2] == b"\x02\x00":
        long_form = raw[at + 4:at + 6] in (b"OB", b"UN", b"OW", b"UT", b"SQ")
        at += 12 + int.from_bytes(raw[at + 8:at + 12], "little") if long_form else 8 + int.from_bytes(raw[at + 6:at + 8], "little")
    return raw[at:]


def run(namespace):
    tests = [(n, f) for n, f in namespace.items() if n.startswith("test_") and callable(f)]
    only = sys.argv[1:]
    bad = 0
    for name, fn in tests:
        if only and name not in only:
            continue
        tmp = pathlib.Path(tempfile.mkdtemp(prefix="garonne-"))
        nodes = []
        t0 = time.monotonic()
        try:
            fn(Test(tmp, nodes))
            print(f"ok   {name} ({time.monotonic() - t0:.1f} s)", flush=True)
        except Skip as e:
            print(f"skip {name}: {e}", flush=True)
        except Exception as e:
            bad += 1
            print(f"FAIL {name}: {e}", flush=True)
            if not isinstance(e, Failed):
                traceback.print_exc()
            for n in nodes:
                if isinstance(n, Node) and n.log.exists():
                    print(f"--- {n.log}\n{n.log.read_text(errors='replace')[-3000:]}", flush=True)
        finally:
            for n in nodes:
                n.kill()
            shutil.rmtree(tmp, ignore_errors=True)
    sys.exit(1 if bad else 0)


class Skip(Exception):
    pass


class Process:
    """A foreign server as a child; kill() at the end of the test."""

    def __init__(self, args, log, cwd=None, env=None):
        self.log = pathlib.Path(log)
        self.p = subprocess.Popen([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=open(log, "ab"),
                                  stderr=subprocess.STDOUT, cwd=cwd, env=env)

    def kill(self):
        if self.p.poll() is None:
            self.p.terminate()
            try:
                self.p.wait(10)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()


class Test:
    def __init__(self, tmp, nodes):
        self.tmp, self.nodes = tmp, nodes

    def node(self, *flags, name="data", **kw):
        n = Node(self.tmp / name, *flags, **kw)
        self.nodes.append(n)
        return n

    def process(self, *args, name="peer", **kw):
        p = Process(args, self.tmp / f"{name}.log", **kw)
        self.nodes.append(p)
        return p

    def storescp(self, *args, name="storescp", aet="DEST"):
        """A storescp that is listening; returns (process, port, folder)."""
        port, folder = free_port(), self.tmp / name
        folder.mkdir(exist_ok=True)
        p = self.process("storescp", "-aet", aet, "-od", folder, *args, port, name=name)
        wait_for(lambda: can_connect(port))
        return p, port, folder

    def orthanc(self, name="orthanc", modalities=None, **conf):
        """Orthanc on loopback ports (it binds all interfaces: its AET check and `RemoteAccessAllowed` keep others out)."""
        need("Orthanc")
        port, http = free_port(), free_port()
        folder = self.tmp / name
        folder.mkdir()
        c = {"Name": name, "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "DicomPort": port,
             "HttpPort": http, "DicomAet": "ORTHANC", "RemoteAccessAllowed": False, "DicomServerEnabled": True,
             "DicomAlwaysAllowEcho": True, "DicomAlwaysAllowStore": True, "DicomCheckCalledAet": False,
             "DicomModalities": modalities or {}, "Plugins": [], "UnknownSopClassAccepted": True, **conf}
        (folder / "orthanc.json").write_text(json.dumps(c))
        p = self.process("Orthanc", folder / "orthanc.json", name=name)
        p.dicom, p.http = port, f"http://127.0.0.1:{http}"
        wait_for(lambda: can_connect(port) and can_connect(http), 30)
        return p


def can_connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def http_json(url, data=None, method=None, timeout=120):
    req = urllib.request.Request(url, data=data if data is None or isinstance(data, bytes) else json.dumps(data).encode(),
                                 method=method)
    with urllib.request.urlopen(req, timeout=timeout) as r:
        body = r.read()
    return json.loads(body) if body else None

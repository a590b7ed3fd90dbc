#!/usr/bin/env python3
"""make bench: Garonne beside DCMTK's storescp and Orthanc on this machine, the same stock clients, interleaved rounds, medians, ratios.

Prints a table and, with --json FILE, the figures.  Every receiver of a round starts empty.  --quick: fewer images and rounds.
"""
import argparse
import os
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/e2e"))
from lib import *

need("storescu", "storescp", "getscu", "movescu", "Orthanc")
ap = argparse.ArgumentParser()
ap.add_argument("--quick", action="store_true")
ap.add_argument("--json")
ap.add_argument("--only", default="", help="store1,store8,small,retrieve,memory,large,find")
args = ap.parse_args()
ROUNDS = 1 if args.quick else 3
TMP = pathlib.Path(tempfile.mkdtemp(prefix="garonne-bench-", dir=os.environ.get("BENCH_TMP")))
figures = {}


def wants(name):
    return not args.only or name in args.only.split(",")


class Ctx(Test):
    pass


def timed(cmds):
    """Run commands side by side; seconds until the last ends.  All must succeed."""
    t0 = time.monotonic()
    ps = [subprocess.Popen([str(x) for x in c], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for c in cmds]
    rcs = [p.wait() for p in ps]
    if any(rcs):
        raise Failed(f"{cmds[0][0]} failed: {rcs}")
    return time.monotonic() - t0


def receiver(t, kind, name):
    """(port, called AE, stop) of a fresh, empty receiver."""
    if kind == "garonne":
        n = t.node(name=name)
        return n.port, "PURPAN", n
    if kind == "orthanc":
        p = t.orthanc(name=name)
        return p.dicom, "ORTHANC", p
    p, port, folder = t.storescp(name=name)
    return port, "DEST", p


def store(name, folders, kinds, counts):
    """Images per second for each kind of receiver; a folder of images for each association."""
    for r in range(ROUNDS):
        for kind in kinds:
            nodes = []
            t = Ctx(TMP, nodes)
            n = counts[kind]
            try:
                port, called, stop = receiver(t, kind, f"{name}-{kind}-{r}")
                lists = [sorted(f.iterdir())[: n // len(folders)] for f in folders]
                seconds = timed([["storescu", "-aec", called, "127.0.0.1", port, *files] for files in lists])
                figures.setdefault(f"{name} {kind} images/s", []).append(sum(map(len, lists)) / seconds)
            finally:
                for x in nodes:
                    x.kill()
                for d in TMP.glob(f"{name}-{kind}-{r}*"):
                    shutil.rmtree(d, ignore_errors=True) if d.is_dir() else d.unlink()


def median(key):
    return statistics.median(figures[key])


def ratio(a, b, target):
    x = median(a) / median(b)
    print(f"  {a:36} {median(a):10.1f}   {b:36} {median(b):10.1f}   ratio {x:6.1f}  (target {target})", flush=True)


def series(folder, n, size):
    folder = TMP / folder
    if not folder.exists():
        side = int((size / 2) ** 0.5)
        make_series(folder, n, rows=side, cols=side)
    return folder


def main():
    big = [series(f"ct{i}", 400 if i == 0 else 60, 512 * 1024) for i in range(8)]
    if wants("store1"):
        print("C-STORE, 512 KB CT, stock storescu, one association")
        store("store1", big[:1], ["garonne", "orthanc", "storescp"], {"garonne": 400, "orthanc": 40, "storescp": 60})
        ratio("store1 garonne images/s", "store1 orthanc images/s", "20, aim 30")
        ratio("store1 garonne images/s", "store1 storescp images/s", "-")
    if wants("store8"):
        print("C-STORE, 512 KB CT, 8 associations")
        store("store8", big, ["garonne", "orthanc", "storescp"], {"garonne": 480, "orthanc": 160, "storescp": 320})
        ratio("store8 garonne images/s", "store8 orthanc images/s", "7")
        ratio("store8 garonne images/s", "store8 storescp images/s", "-")
    if wants("small"):
        print("C-STORE, small objects, one association, durable")
        for size in (5000, 50000):
            store(f"small{size}", [series(f"small{size}", 2000, size)], ["garonne", "orthanc"], {"garonne": 2000, "orthanc": 40})
            ratio(f"small{size} garonne images/s", f"small{size} orthanc images/s", "1,000 per second")
    if wants("retrieve"):
        retrieve()
    if wants("memory"):
        memory()
    if wants("large"):
        large()
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({k: statistics.median(v) for k, v in figures.items()}, indent=1))
    for k, v in figures.items():
        print(f"{k:44} median {statistics.median(v):10.1f}  of {', '.join(f'{x:.1f}' for x in v)}")


def retrieve():
    print("C-GET and C-MOVE of a series of 500 images of 128 KB, stock clients")
    folder = series("get", 500, 128 * 1024)
    files = sorted(folder.iterdir())
    import pydicom
    ds = pydicom.dcmread(files[0], stop_before_pixels=True)
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={ds.StudyInstanceUID}"]
    nodes = []
    t = Ctx(TMP, nodes)
    try:
        dest, dest_port, dest_folder = t.storescp("--ignore", name="move-dest")
        n = t.node(name="ret-garonne")
        n.cli("peer", "add", "DEST", "--tenant", "PURPAN", "--host", "127.0.0.1", "--port", dest_port)
        o = t.orthanc(name="ret-orthanc", modalities={"DEST": ["DEST", "127.0.0.1", dest_port]}, DicomAlwaysAllowGet=True,
                      DicomAlwaysAllowFind=True, DicomAlwaysAllowMove=True)
        timed([["storescu", "-aec", "PURPAN", n.host, n.port, *files]])
        for f in files:
            http_json(o.http + "/instances", data=f.read_bytes(), method="POST")
        for r in range(ROUNDS):
            for kind, called, port in (("garonne", "PURPAN", n.port), ("orthanc", "ORTHANC", o.dicom)):
                out = TMP / f"got-{kind}"
                out.mkdir(exist_ok=True)
                s = timed([["getscu", "+B", "-S", "-od", out, "-aet", "GETSCU", "-aec", called, "127.0.0.1", port, *keys]])
                got = len(list(out.iterdir()))
                check(got == 500, kind, "C-GET gave", got)
                figures.setdefault(f"get {kind} images/s", []).append(500 / s)
                shutil.rmtree(out)
                s = timed([["movescu", "-S", "-aet", "MOVESCU", "-aec", called, "-aem", "DEST", "127.0.0.1", port, *keys]])
                figures.setdefault(f"move {kind} images/s", []).append(500 / s)
    finally:
        for x in nodes:
            x.kill()
    ratio("get garonne images/s", "get orthanc images/s", "10")
    ratio("move garonne images/s", "move orthanc images/s", "10")


def memory():
    print("memory and index: 100 associations sending, database bytes per image")
    folders = [series(f"mem{i}", 20, 128 * 1024) for i in range(100)]
    one = series("db500", 500, 5000)
    nodes = []
    t = Ctx(TMP, nodes)
    try:
        n = t.node(name="memory")
        timed([["storescu", "-aec", "PURPAN", n.host, n.port, *sorted(f.iterdir())] for f in folders])
        figures["resident MB with 100 associations"] = [n.rss_kb() / 1024]
        n.stop()
        m = t.node(name="db")
        m.stop()  # checkpointed: the write-ahead log is empty
        before = sum(f.stat().st_size for f in pathlib.Path(m.data).glob("index.sqlite*"))
        m.start()
        timed([["storescu", "-aec", "PURPAN", m.host, m.port, *sorted(one.iterdir())]])
        m.stop()
        after = sum(f.stat().st_size for f in pathlib.Path(m.data).glob("index.sqlite*"))
        figures["database bytes per image, series of 500"] = [(after - before) / 500]
    finally:
        for x in nodes:
            x.kill()
    print(f"  resident {median('resident MB with 100 associations'):.0f} MB (target 150), database {median('database bytes per image, series of 500'):.0f} bytes per image (target 100)")


def large():
    print("one object of 6 GB")
    base = TMP / "large.dcm"
    ds = make_image(TMP / "small.dcm", modality="OT", rows=64, cols=64)
    raw = (TMP / "small.dcm").read_bytes()
    at = raw.rfind(b"\xe0\x7f\x10\x00OW")
    with open(base, "wb") as f:  # an element's length has 32 bits: a private one of 3 GB and pixels of 3 GB, sparse
        head = raw[:at]
        f.write(head)
        f.write(struct.pack("<HH2sH", 0x7FDF, 0x0010, b"LO", 8) + b"GARONNE ")
        f.write(struct.pack("<HH2sHI", 0x7FDF, 0x1001, b"OB", 0, 3 << 30))
        f.seek(3 << 30, 1)
        f.write(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 3 << 30))
        f.seek((3 << 30) - 1, 1)
        f.write(b"\0")
    nodes = []
    t = Ctx(TMP, nodes)
    try:
        n = t.node(name="large")
        s = timed([[GARONNE, "send", n.host, n.port, "--called", "PURPAN", "--calling", "ANY", base]])
        figures["6 GB object MB/s"] = [6144 / s]
        figures["resident MB with a 6 GB object"] = [n.rss_kb() / 1024]
        n.stop()
    finally:
        for x in nodes:
            x.kill()
        shutil.rmtree(TMP / "large", ignore_errors=True)
        base.unlink()
    print(f"  {median('6 GB object MB/s'):.0f} MB/s, resident {median('resident MB with a 6 GB object'):.0f} MB (target 100)")


try:
    main()
finally:
    shutil.rmtree(TMP, ignore_errors=True)

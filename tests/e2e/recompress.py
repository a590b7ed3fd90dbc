#!/usr/bin/python3
"""Recompression at sealing by tenant policy: equal pixels, the same data set, smaller packs, duplicates still known."""
import json
import pathlib
import time

import numpy
import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from lib import SOURCE, Skip, check, garonne, make_image, need, run, sh, uid, wait_for

need("storescu", "getscu")
BASE = "1.2.840.10008.1.2"
HTJ2K = BASE + ".4.202"


def series(t, n=4, **kw):
    study, one, files = uid(), uid(), []
    for i in range(n):
        path = t.tmp / f"ct{i}.dcm"
        ds = make_image(path, rows=128, cols=128, study=study, series=one, number=i + 1, **kw)
        ds.PixelData = (numpy.add.outer(numpy.arange(128), numpy.arange(128)) * 7 + i).astype("uint16").tobytes()
        ds.BitsStored, ds.HighBit = 12, 11
        ds.save_as(path)
        files.append(path)
    return study, one, files


def node(t, policy="htj2k", **kw):
    conf = t.tmp / "garonne.yaml"
    conf.write_text("archive:\n  seal_after: 1\n")
    n = t.node("--config", str(conf), start=False, **kw)
    n.cli("tenant", "set", "PURPAN", "--recompress", policy)
    return n.start()


def packs(n):
    return sorted(pathlib.Path(n.data).rglob("*.tar"))


def sealed(n, count=1):
    return wait_for(lambda: len(packs(n)) == count and not list(pathlib.Path(n.data).rglob("*.tar.open*")) and packs(n), 40)


def content(pack, to):
    to.mkdir()
    sh("tar", "xf", pack, "-C", to)
    sh("sha256sum", "-c", "SHA256SUMS", cwd=to)
    return {pydicom.dcmread(f).SOPInstanceUID: f for f in to.glob("*.dcm")}, json.loads((to / "manifest.json").read_text())


def same(t, original, stored):
    plain = t.tmp / "plain.dcm"
    garonne("transcode", stored, plain, "--to", BASE + ".1")
    a, b = pydicom.dcmread(original), pydicom.dcmread(plain)
    check(a == b, "data set of", original)


def test_sealing_compresses_and_everything_is_as_it_was(t):
    n = node(t)
    study, one, files = series(t)
    n.dcmtk("storescu", *files)
    pack, = sealed(n)
    stored, manifest = content(pack, t.tmp / "x")
    check(len(stored) == 4 and all(i["syntax"] == HTJ2K for i in manifest["images"]), manifest)
    for f in files:
        s = stored[pydicom.dcmread(f).SOPInstanceUID]
        check(pydicom.dcmread(s).file_meta.TransferSyntaxUID == HTJ2K, "syntax")
        same(t, f, s)
        check(s.stat().st_size * 2 < f.stat().st_size, "half the bytes:", s.stat().st_size, f.stat().st_size)
    check(n.metric("garonne_images_recompressed_total") == 4, "metric")
    n.cli("verify")
    # those who ask get what they can read
    out = t.tmp / "got"
    out.mkdir()
    sh("getscu", "-S", "+xe", "-aet", "GETSCU", "-aec", "PURPAN", "-od", out, n.host, n.port, "-k", "QueryRetrieveLevel=SERIES",
       "-k", f"StudyInstanceUID={study}", "-k", f"SeriesInstanceUID={one}")
    got = list(out.iterdir())
    check(len(got) == 4, "C-GET")
    for g in got:
        ds = pydicom.dcmread(g)
        check(ds == next(pydicom.dcmread(f) for f in files if pydicom.dcmread(f).SOPInstanceUID == ds.SOPInstanceUID), "C-GET")
    n.stop()


def test_the_original_sent_again_is_a_duplicate(t):
    n = node(t)
    study, one, files = series(t)
    n.dcmtk("storescu", *files)
    sealed(n)
    for _ in range(2):
        n.dcmtk("storescu", *files)
        check(n.metric("garonne_images_quarantined_total") == 0, "quarantined")
        check(n.metric("garonne_images_duplicate_total") > 0, "duplicates")
        n.stop()
        n.start()
    check(not [x for x in pathlib.Path(n.data).rglob("quarantine/*")], "nothing is left aside")
    ds = pydicom.dcmread(files[0])
    ds.PatientName = "OTHER^NAME"
    ds.save_as(t.tmp / "other.dcm")
    n.dcmtk("storescu", t.tmp / "other.dcm", ok=None)
    check(n.metric("garonne_images_quarantined_total") == 1, "another content is kept aside")
    check(len(packs(n)) == 1, "one pack")
    n.stop()
    # and after the index was rebuilt
    for f in pathlib.Path(n.data).glob("index.sqlite*"):
        f.unlink()
    n.cli("reindex")
    check('"recompress":"htj2k"' in n.cli("tenant", "show", "PURPAN", "--json").replace(" ", ""), "policy after reindex")
    n.start()
    n.dcmtk("storescu", *files)
    check(n.metric("garonne_images_duplicate_total") == 4, "duplicates after reindex")
    n.stop()


def test_what_must_stay_stays(t):
    n = node(t)
    study, one, files = series(t)
    coded = t.tmp / "jls.dcm"
    garonne("transcode", files[0], coded, "--to", BASE + ".4.80")
    ds = pydicom.dcmread(files[1])
    ds.DigitalSignaturesSequence = Sequence([Dataset()])
    ds.DigitalSignaturesSequence[0].MACIDNumber = 1
    ds.save_as(files[1])
    ds = pydicom.dcmread(files[2])
    ds.BitsStored, ds.HighBit = 10, 9  # bits in use beyond those stored: no lossless syntax can keep them
    ds.save_as(files[2])
    n.cli("import", coded, files[1], files[2], files[3], "--tenant", "PURPAN")
    pack, = sealed(n)
    stored, manifest = content(pack, t.tmp / "x")
    by = {i["sop"]: i["syntax"] for i in manifest["images"]}
    want = [BASE + ".4.80", BASE + ".1", BASE + ".1", HTJ2K]
    check([by[pydicom.dcmread(f).SOPInstanceUID] for f in (coded, *files[1:])] == want, by)
    for f in (files[1], files[2]):
        a = pydicom.dcmread(f)
        check(a == pydicom.dcmread(stored[a.SOPInstanceUID]), "as it was")
    n.stop()


def test_off_is_off(t):
    n = node(t, "off")
    _, _, files = series(t, 2)
    n.dcmtk("storescu", *files)
    pack, = sealed(n)
    _, manifest = content(pack, t.tmp / "x")
    check(all(i["syntax"] == BASE + ".1" for i in manifest["images"]), manifest)
    n.stop()


def test_killed_at_any_moment_nothing_is_lost(t):
    n = node(t)
    _, _, files = series(t, 30)
    n.dcmtk("storescu", *files)
    originals = {str(pydicom.dcmread(f).SOPInstanceUID): f for f in files}
    for i in range(8):  # while it is compressed, replaced, sealed
        wait_for(lambda: list(pathlib.Path(n.data).rglob("*.tar.open.new")) or packs(n), 20, every=0.002)
        time.sleep(0.03 * i)
        n.kill()
        n.start()
        if packs(n):
            break
    pack, = sealed(n)
    stored, manifest = content(pack, t.tmp / "x")
    check(set(stored) == set(originals), "all images")
    check(all(i["syntax"] == HTJ2K for i in manifest["images"]), "compressed in the end")
    for u in list(stored)[::6]:
        same(t, originals[u], stored[u])
    n.dcmtk("storescu", *files)
    check(n.metric("garonne_images_duplicate_total") == 30, "duplicates")
    n.stop()


def test_a_real_ct_in_half_the_bytes(t):
    if not pathlib.Path("/usr/share/doc/invesalius-examples/examples/Cranium.inv3").exists():
        raise Skip("no demo data (invesalius-examples)")
    sh("/usr/bin/python3", SOURCE / "tools/demo_data.py", t.tmp / "demo", timeout=300)
    folder = t.tmp / "ct"
    folder.mkdir()
    for f in (t.tmp / "demo").rglob("*.dcm"):
        if pydicom.dcmread(f, stop_before_pixels=True).Modality == "CT":
            f.rename(folder / f.name)
    n = node(t)
    n.cli("import", folder, "--tenant", "PURPAN", timeout=300)
    found = wait_for(lambda: not list(pathlib.Path(n.data).rglob("*.tar.open*")) and packs(n), 120)
    before = after = images = 0
    for k, pack in enumerate(found):
        _, manifest = content(pack, t.tmp / f"x{k}")
        for i in manifest["images"]:
            ds = pydicom.dcmread(t.tmp / f"x{k}" / f"{i['sop']}.dcm", stop_before_pixels=True)
            before += i.get("rows", 0) * i.get("columns", 0) * 2
            after += i["size"]
            images += 1
    print(f"     {images} images of a head CT: {after / before:.3f} of their pixels' bytes ({before / 1e6:.1f} -> {after / 1e6:.1f} MB)")
    check(images > 50 and after * 2 <= before, "half:", after, before)
    n.stop()


run(globals())

#!/usr/bin/python3
"""C-MOVE and C-GET to those who take other transfer syntaxes than the stored one."""
import pathlib
import urllib.request

import numpy
import pydicom

from lib import check, garonne, http_json, make_image, need, run, sh, uid, wait_for

need("storescp", "movescu", "getscu", "dcmcjpls", "dcmdjpls")
BASE = "1.2.840.10008.1.2"


def series(t, n=3):
    """A study of n smooth CT images, and its files."""
    study, one, files = uid(), uid(), []
    for i in range(n):
        path = t.tmp / f"ct{i}.dcm"
        ds = make_image(path, rows=96, cols=80, study=study, series=one, number=i + 1)
        ds.PixelData = (numpy.add.outer(numpy.arange(96), numpy.arange(80)) * 5 + i).astype("uint16").tobytes()
        ds.BitsStored, ds.HighBit = 12, 11
        ds.save_as(path)
        files.append(path)
    return study, one, files



def move(n, study, one, to="DEST", ok=0):
    return sh("movescu", "-d", "-S", "-aet", "MOVESCU", "-aec", "PURPAN", "-aem", to, n.host, n.port, "-k",
              "QueryRetrieveLevel=SERIES", "-k", f"StudyInstanceUID={study}", "-k", f"SeriesInstanceUID={one}", ok=ok)


def same_pixels(t, files, got):
    sent = {pydicom.dcmread(f).SOPInstanceUID: pydicom.dcmread(f).PixelData for f in files}
    check(len(got) == len(files), len(got), "images arrived")
    for f in got:
        plain = t.tmp / "plain.dcm"
        garonne("transcode", f, plain, "--to", BASE + ".1")
        ds = pydicom.dcmread(plain)
        check(ds.PixelData == sent[ds.SOPInstanceUID], "pixels of", f)


def test_uncompressed_images_go_to_those_who_want_them_compressed(t):
    n = t.node()
    study, one, files = series(t)
    n.dcmtk("storescu", *files)
    wanted = {"JPEGLS": ("+xt", ".4.80"), "J2K": ("+xv", ".4.90"), "RLE": ("+xr", ".5"), "JPEG": ("+xs", ".4.70")}
    for aet, (flag, suffix) in wanted.items():
        _, port, folder = t.storescp(flag, name=aet, aet=aet)
        n.cli("peer", "add", aet, "--tenant", "PURPAN", "--host", "127.0.0.1", "--port", port)
        move(n, study, one, aet)
        got = list(folder.iterdir())
        # these take the uncompressed default too: what needs no conversion goes first
        same_pixels(t, files, got)
    n.stop()


ONLY = """[[TransferSyntaxes]]
[One]
TransferSyntax1 = %s
[[PresentationContexts]]
[Images]
PresentationContext1 = CTImageStorage\\One
PresentationContext2 = VerificationSOPClass\\One
[[Profiles]]
[Only]
PresentationContexts = Images
"""


def test_a_receiver_of_one_compressed_syntax_alone(t):
    n = t.node()
    study, one, files = series(t)
    n.dcmtk("storescu", *files)
    for name, suffix in (("JPEGLSLossless", ".4.80"), ("JPEG2000LosslessOnly", ".4.90"), ("RLELossless", ".5")):
        conf = t.tmp / f"{name}.cfg"
        conf.write_text(ONLY % name)
        _, port, folder = t.storescp("-xf", conf, "Only", name=name)
        n.cli("peer", "add" if suffix == ".4.80" else "set", "DEST", "--tenant", "PURPAN", "--host", "127.0.0.1", "--port", port)
        move(n, study, one)
        got = list(folder.iterdir())
        check(all(pydicom.dcmread(f).file_meta.TransferSyntaxUID == BASE + suffix for f in got), name, "syntax")
        same_pixels(t, files, got)
    n.stop()


def test_compressed_images_go_to_those_who_want_them_plain(t):
    for name, suffix in (("JPEG-LS", ".4.80"), ("HTJ2K", ".4.202"), ("J2K", ".4.90"), ("RLE", ".5")):
        n = t.node(name=f"data{suffix}")
        study, one, files = series(t)
        coded = []
        for f in files:
            coded.append(f.with_suffix(".coded"))
            garonne("transcode", f, coded[-1], "--to", BASE + suffix)
        n.cli("import", *coded, "--tenant", "PURPAN")
        for flag, want in (("+xi", ""), ("+xe", ".1")):
            _, port, folder = t.storescp(flag, name=f"D{suffix}{flag}", aet="DEST")
            n.cli("peer", "add" if flag == "+xi" else "set", "DEST", "--tenant", "PURPAN", "--host", "127.0.0.1", "--port", port)
            move(n, study, one)
            got = list(folder.iterdir())
            check(all(pydicom.dcmread(f).file_meta.TransferSyntaxUID == BASE + want for f in got), name, "syntax")
            same_pixels(t, files, got)
        out = t.tmp / f"get{suffix}"
        out.mkdir()
        sh("getscu", "-S", "+xi", "-aet", "GETSCU", "-aec", "PURPAN", "-od", out, n.host, n.port, "-k",
           "QueryRetrieveLevel=SERIES", "-k", f"StudyInstanceUID={study}", "-k", f"SeriesInstanceUID={one}")
        same_pixels(t, files, list(out.iterdir()))
        n.stop()


def test_what_cannot_be_converted_is_named(t):
    n = t.node()
    study, one, files = series(t)
    broken = t.tmp / "broken.dcm"
    garonne("transcode", files[1], broken, "--to", BASE + ".4.80")
    raw = broken.read_bytes()
    at = raw.index(b"\xff\xd8\xff")
    broken.write_bytes(raw[:at + 40] + bytes(len(raw) - at - 48) + raw[-8:])
    n.cli("import", files[0], broken, files[2], "--tenant", "PURPAN")
    _, port, folder = t.storescp("+xi")
    n.cli("peer", "add", "DEST", "--tenant", "PURPAN", "--host", "127.0.0.1", "--port", port)
    said = move(n, study, one, ok=None)
    lost = str(pydicom.dcmread(files[1]).SOPInstanceUID)
    check(lost in said, "the failed UID list", said[-2000:])
    log = n.log.read_text()
    line = next(x for x in log.splitlines() if "suboperation.failed" in x)
    check(lost in line and "JPEG-LS" in line, line)
    same_pixels(t, [files[0], files[2]], list(folder.iterdir()))
    n.stop()


def test_orthanc_gets_what_it_can_read(t):
    n = t.node()
    study, one, files = series(t)
    coded = []
    for f in files:
        coded.append(f.with_suffix(".coded"))
        garonne("transcode", f, coded[-1], "--to", BASE + ".4.202")
    n.cli("import", *coded, "--tenant", "PURPAN")
    o = t.orthanc()
    n.cli("peer", "add", "ORTHANC", "--tenant", "PURPAN", "--host", "127.0.0.1", "--port", o.dicom)
    move(n, study, one, "ORTHANC")
    ids = wait_for(lambda: http_json(o.http + "/instances"))
    got = []
    for i in ids:
        path = t.tmp / f"{i}.dcm"
        path.write_bytes(urllib.request.urlopen(f"{o.http}/instances/{i}/file").read())
        check(not pydicom.dcmread(path).file_meta.TransferSyntaxUID.startswith(BASE + ".4.20"), "no HTJ2K")
        got.append(path)
    same_pixels(t, files, got)
    n.stop()


run(globals())

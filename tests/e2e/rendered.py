"""Rendered resources and thumbnails (PS3.18 8.3.5, 10.4) against dcm2pnm of DCMTK, pixel by pixel."""
import glob
import re
import struct
import warnings
import zlib

import numpy
import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

import lib
from lib import *
from wado import Web, of, store

warnings.simplefilter("ignore")
PYDICOM = "/usr/lib/python3/dist-packages/pydicom/data/test_files"


def png(b):
    """8-bit grey or RGB, not interlaced, to an array."""
    check(b[:8] == b"\x89PNG\r\n\x1a\n", "no PNG", b[:20])
    at, data = 8, b""
    while at < len(b):
        n, kind = struct.unpack(">I4s", b[at:at + 8])
        if kind == b"IHDR":
            w, h, bits, colour = struct.unpack(">IIBB", b[at + 8:at + 18])
        data += b[at + 8:at + 8 + n] if kind == b"IDAT" else b""
        at += n + 12
    check(bits == 8 and colour in (0, 2), "unexpected PNG", bits, colour)
    c = 1 if colour == 0 else 3
    raw = numpy.frombuffer(zlib.decompress(data), numpy.uint8).reshape(h, w * c + 1)
    out = numpy.zeros((h, w * c), numpy.uint8)
    for y in range(h):
        kind, line = raw[y, 0], raw[y, 1:]
        up = out[y - 1] if y else numpy.zeros(w * c, numpy.uint8)
        if kind == 0:
            out[y] = line
        elif kind == 1:
            out[y] = numpy.cumsum(line.reshape(w, c), axis=0, dtype=numpy.uint8).reshape(-1)
        elif kind == 2:
            out[y] = line + up
        else:
            for x in range(w * c):
                a = int(out[y, x - c]) if x >= c else 0
                b_, d = int(up[x]), int(up[x - c]) if x >= c else 0
                p = a + b_ - d
                best = min((abs(p - a), 0, a), (abs(p - b_), 1, b_), (abs(p - d), 2, d))[2]
                out[y, x] = (int(line[x]) + ((a + b_) // 2 if kind == 3 else best)) & 255
    return out.reshape(h, w, c).astype(int)


def pnm(path):
    b = pathlib.Path(path).read_bytes()
    m = re.match(rb"P([56])\s+(?:#.*\n)*(\d+)\s+(\d+)\s+255\s", b)
    c = 1 if m[1] == b"5" else 3
    return numpy.frombuffer(b[m.end():], numpy.uint8).reshape(int(m[3]), int(m[2]), c).astype(int)


def dcm2pnm(t, f, *options):
    out = t.tmp / "dcmtk.pnm"
    out.unlink(missing_ok=True)
    for tool in "dcm2pnm", "dcmj2pnm":
        subprocess.run([tool, *options, str(f), str(out)], capture_output=True, timeout=60)
        if out.exists() and out.stat().st_size:
            return pnm(out)
    return None


def distance(a, b):
    if a.shape[2] != b.shape[2]:
        a, b = (x.repeat(3, 2) if x.shape[2] == 1 else x for x in (a, b))
    check(a.shape == b.shape, "sizes", a.shape, b.shape)
    return int(abs(a - b).max())


def archive(t, *sets):
    """A node that has these data sets."""
    d = t.tmp / "in"
    d.mkdir(exist_ok=True)
    for i, ds in enumerate(sets):
        ds.save_as(str(d / f"{i}.dcm"), write_like_original=False)
    node = t.node(start=False)
    store(node, d)
    node.start()
    return node, Web(node)


def image(t, **kw):
    return make_image(t.tmp / "x.dcm", **kw)


def test_a_picture_in_each_form(t):
    ds = image(t, WindowCenter="1000", WindowWidth="2000")
    node, web = archive(t, ds)
    path = of(ds) + "/rendered"
    a = web.get(path).want(200, "image/jpeg")
    check(a.body[:3] == b"\xff\xd8\xff" and a.headers["ETag"], a.headers)
    check("private" in a.headers["Cache-Control"])
    web.get(path, If_None_Match=a.headers["ETag"]).want(304)
    web.get(path + "?quality=10", If_None_Match=a.headers["ETag"]).want(200)
    web.get(path, "image/png").want(200, "image/png")
    check(web.get(path, "image/gif").want(200, "image/gif").body[:6] == b"GIF89a")
    web.get(path + "?accept=image/png").want(200, "image/png")
    check(len(web.get(path + "?quality=1").body) < len(web.get(path + "?quality=100").body))
    (head, body), = web.get(path, 'multipart/related; type="image/png"').want(200, "multipart/related").parts()
    check(head["Content-Type"] == "image/png" and png(body).shape == (64, 64, 1))
    web.get(path, "image/tiff").want(406)
    web.get(path, "text/html").want(406)
    for bad in "window=1", "window=1,0,linear", "viewport=5", "quality=0", "viewport=5,5,64,0,1,1", "presentationUID=..":
        web.get(f"{path}?{bad}").want(400)
    web.get(path + "?presentationUID=1.2.3").want(404)
    web.get(of(ds) + "/frames/2/rendered").want(404)
    web.get(of(ds) + "/frames/0/rendered").want(400)
    web.get(of(ds) + "9/rendered").want(404)
    w = web.get(path + "?annotation=patient").want(200).headers["Warning"]
    check("annotation values are not supported: patient" in w, w)
    stranger = Web(node, role="clinician")
    stranger.token = "nobody"
    stranger.get(path).want(401)
    node.stop()


def test_windows_and_views_as_asked(t):
    ds = image(t)
    node, web = archive(t, ds)
    f = t.tmp / "in/0.dcm"
    path = of(ds) + "/rendered"
    for c, w in (0, 2000), (500, 100), (-1024, 1):
        got = png(web.get(f"{path}?window={c},{w},linear", "image/png").want(200).body)
        d = distance(got, dcm2pnm(t, f, "+Ww", str(c), str(w)))
        check(d <= 1, c, w, d)
    got = png(web.get(f"{path}?window=0,2000,sigmoid", "image/png").want(200).body)
    check(distance(got, dcm2pnm(t, f, "+Wfs", "+Ww", "0", "2000")) <= 1)
    whole = png(web.get(f"{path}?window=0,2000,linear", "image/png").body)
    part = png(web.get(f"{path}?window=0,2000,linear&viewport=16,16,8,4,16,16", "image/png").body)
    check(distance(part, whole[4:20, 8:24]) == 0)
    part = png(web.get(f"{path}?window=0,2000,linear&viewport=16,16,8,4,-16,16", "image/png").body)
    check(distance(part, whole[4:20, 8:24][:, ::-1]) == 0)
    half = png(web.get(f"{path}?window=0,2000,linear&viewport=32,1000", "image/png").body)
    check(distance(half, whole.reshape(32, 2, 32, 2, 1).mean((1, 3)).round()) <= 1)
    small = png(web.get(of(ds) + "/thumbnail?viewport=20,10", "image/png").want(200).body)
    check(small.shape == (10, 10, 1), small.shape)
    node.stop()


def test_wado_uri_gives_pictures(t):
    ds = image(t)
    node, web = archive(t, ds)
    web.root = ""
    path = f"/dicomweb/wado?requestType=WADO&studyUID={ds.StudyInstanceUID}&seriesUID={ds.SeriesInstanceUID}" \
           f"&objectUID={ds.SOPInstanceUID}"
    web.get(path).want(200, "image/jpeg")
    got = png(web.get(path + "&contentType=image/png&windowCenter=0&windowWidth=2000&region=0,0,0.5,0.25").body)
    want = dcm2pnm(t, t.tmp / "in/0.dcm", "+Ww", "0", "2000")
    check(distance(got, want[:16, :32]) <= 1)
    check(png(web.get(path + "&contentType=image/png&rows=16").want(200).body).shape == (16, 16, 1))
    web.get(path + "&contentType=image/jp2").want(406)
    web.get(path + "&contentType=image/jpeg&frameNumber=2").want(404)
    web.get(path + "&contentType=image/jpeg&windowWidth=0").want(400)
    web.get(path + "&contentType=application/dicom").want(200, "application/dicom")
    node.stop()


def gsps(ds, **kw):
    s = Dataset()
    s.file_meta = pydicom.dataset.FileMetaDataset()
    s.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    s.is_little_endian, s.is_implicit_VR = True, False
    s.SOPClassUID = s.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.11.1"
    s.SOPInstanceUID = s.file_meta.MediaStorageSOPInstanceUID = uid()
    s.StudyInstanceUID, s.SeriesInstanceUID, s.Modality, s.PatientID = ds.StudyInstanceUID, uid(), "PR", ds.PatientID
    s.PatientName, s.InstanceNumber = ds.PatientName, 1
    ref, series, voi, area = Dataset(), Dataset(), Dataset(), Dataset()
    ref.ReferencedSOPClassUID, ref.ReferencedSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    series.SeriesInstanceUID, series.ReferencedImageSequence = ds.SeriesInstanceUID, Sequence([ref])
    voi.WindowCenter, voi.WindowWidth = "2000", "1000"
    s.ReferencedSeriesSequence, s.SoftcopyVOILUTSequence = Sequence([series]), Sequence([voi])
    s.RescaleSlope, s.RescaleIntercept, s.RescaleType = "1", "0", "US"
    s.PresentationLUTShape = "INVERSE"
    for k, v in kw.items():
        setattr(s, k, v)
    return s


def test_an_image_through_a_presentation_state(t):
    ds = image(t)
    s = gsps(ds)
    turned = gsps(ds, ImageRotation=90, ImageHorizontalFlip="Y")
    node, web = archive(t, ds, s, turned)
    want = 255 - dcm2pnm(t, t.tmp / "in/0.dcm", "+Ww", str(2000 - 1024), "1000")
    path = of(ds) + "/rendered?presentationUID="
    got = png(web.get(path + s.SOPInstanceUID, "image/png").want(200).body)
    check(distance(got, want) <= 1, distance(got, want))
    web.get(f"{path}{s.SOPInstanceUID}&presentationSeriesUID={s.SeriesInstanceUID}").want(200)
    web.get(f"{path}{s.SOPInstanceUID}&presentationSeriesUID={ds.SeriesInstanceUID}").want(404)
    web.get(path + ds.SOPInstanceUID).want(400)
    got = png(web.get(of(s) + "/rendered", "image/png").want(200).body)
    check(distance(got, want) <= 1)
    got = png(web.get(of(turned) + "/rendered", "image/png").want(200).body)
    check(distance(got, numpy.rot90(want, -1)[:, ::-1]) <= 1)
    node.stop()


def test_frames_series_and_studies(t):
    study, series = uid(), uid()
    cine = image(t, modality="US", bits=8, study=study, series=uid(), rows=32, cols=32)
    cine.NumberOfFrames, cine.FrameTime = 5, "40"
    cine.PixelData = b"".join(bytes([i * 40]) * 1024 for i in range(5))
    slices = [image(t, study=study, series=series, number=i) for i in range(3)]
    node, web = archive(t, cine, *slices)
    path = of(cine)
    got = [png(b)[0, 0, 0] for _, b in web.get(path + "/frames/2,5/rendered",
                                               "multipart/related; type=image/png").want(200).parts()]
    check(got == [40, 160], got)
    check(png(web.get(path + "/frames/4/rendered", "image/png").want(200, "image/png").body)[0, 0, 0] == 120)
    check(png(web.get(path + "/rendered", "image/png").want(200).body)[0, 0, 0] == 80, "not the middle")
    web.get(path + "/frames/2,5/rendered", "image/jpeg").want(406)
    gif = web.get(path + "/rendered", "image/gif").want(200, "image/gif").body
    check(gif.count(b"\x21\xf9\x04") == 5 and b"NETSCAPE2.0" in gif, "not five pictures")
    check(gif[gif.index(b"\x21\xf9\x04") + 4] == 4, "not 40 ms")
    check(len(web.get(path + "/rendered", "multipart/related; type=image/jpeg").want(200).parts()) == 5)
    check(len(web.get(of(slices[0], "series") + "/rendered").want(200, "multipart/related").parts()) == 3)
    check(len(web.get(of(slices[0], "study") + "/rendered").want(200, "multipart/related").parts()) == 4)
    web.get(of(slices[0], "study") + "/rendered", "image/jpeg").want(406)
    for level in "study", "series", "instance":
        a = web.get(of(slices[0], level) + "/thumbnail").want(200, "image/jpeg")
        web.get(of(slices[0], level) + "/thumbnail", If_None_Match=a.headers["ETag"]).want(304)
    web.get(path + "/frames/3/thumbnail").want(200, "image/jpeg")
    web.get(f"/studies/{study}9/thumbnail").want(404)
    node.stop()


def test_documents_are_shown_as_such(t):
    study = uid()
    pdf = image(t, modality="OT", study=study, series=uid())
    for k in "PixelData Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation SamplesPerPixel " \
             "PhotometricInterpretation".split():
        delattr(pdf, k)
    pdf.SOPClassUID = pdf.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    pdf.MIMETypeOfEncapsulatedDocument, pdf.EncapsulatedDocument = "application/pdf", b"%PDF-1.4 " + bytes(100001)
    pdf["EncapsulatedDocument"].VR = "OB"
    sr = image(t, modality="OT", study=study, series=uid(), name="<script>alert(1)</script>^X")
    for k in "PixelData Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation SamplesPerPixel " \
             "PhotometricInterpretation".split():
        delattr(sr, k)
    sr.SOPClassUID = sr.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    name, item = Dataset(), Dataset()
    name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = "121070", "DCM", "Findings"
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", "Étendu <img src=x onerror=alert(2)>"
    item.ConceptNameCodeSequence = Sequence([name])
    sr.ValueType, sr.ConceptNameCodeSequence, sr.ContentSequence = "CONTAINER", Sequence([name]), Sequence([item])
    node, web = archive(t, pdf, sr)
    a = web.get(of(pdf) + "/rendered").want(200, "application/pdf")
    check(a.body.startswith(b"%PDF-1.4") and 100010 <= len(a.body) <= 100011, len(a.body))
    web.get(of(pdf) + "/rendered", "image/jpeg").want(406)
    web.get(of(pdf) + "/thumbnail").want(404)
    a = web.get(of(sr) + "/rendered").want(200, "text/html")
    text = a.body.decode()
    check("<script" not in text and "<img" not in text and "Étendu &lt;img" in text, text)
    check("default-src 'none'" in a.headers["Content-Security-Policy"])
    node.stop()


def test_a_broken_image_costs_one_answer(t):
    ds = image(t)
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    ds.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xe0 this is no JPEG" * 10])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    good = image(t, study=ds.StudyInstanceUID, series=ds.SeriesInstanceUID, number=2)
    node, web = archive(t, ds, good)
    web.get(of(ds) + "/rendered").want(500)
    web.get(of(good) + "/rendered").want(200)
    check(len(web.get(of(ds, "series") + "/rendered").want(200).parts()) == 1)
    node.stop()


def sources():
    files = sorted(glob.glob(PYDICOM + "/*.dcm"))
    if lib.CORPUS:
        for sub in "codec", "modality", "object", "structure":
            files += sorted(str(f) for f in (lib.CORPUS / "dicom" / sub).rglob("*.dcm"))
    for f in files:
        try:
            ds = pydicom.dcmread(f, stop_before_pixels=True)
        except Exception:
            continue
        if "Rows" in ds and "StudyInstanceUID" in ds and "SeriesInstanceUID" in ds:
            yield f, ds


def meant(ds):
    """Why ours is not what DCMTK shows."""
    ratio = ds.get("PixelAspectRatio") or ds.get("PixelSpacing") or ds.get("ImagerPixelSpacing") or [1, 1]
    groups = "SharedFunctionalGroupsSequence" in ds
    return ("not square" if float(ratio[0]) != float(ratio[1]) else "groups" if groups else
            "1 bit" if ds.BitsAllocated == 1 else "padding" if "PixelPaddingValue" in ds else
            "slope that DCMTK rounds to 0" if float(ds.get("RescaleSlope") or 1) < 1e-6 else
            "window under 1" if "WindowWidth" in ds and numpy.max(ds.WindowWidth or 1) < 1 else "")


def test_every_image_at_hand_beside_dcmtk(t):
    """The first window, or table, or range, of frame 1; overlays burned in by both."""
    d, seen = t.tmp / "in", {}
    d.mkdir()
    for f, ds in sources():
        if (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID) not in seen:
            seen[ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID] = f, ds
            shutil.copy(f, d / f"{len(seen)}.dcm")
    node = t.node(start=False)
    node.cli("import", d, "--tenant", "PURPAN", ok=None)
    node.start()
    web = Web(node)
    counts, worst, odd, statuses = {}, 0, [], {}
    for f, ds in seen.values():
        a = web.get(of(ds) + "/frames/1/rendered", "image/png")
        statuses[a.status] = statuses.get(a.status, 0) + 1
        check(a.status in (200, 404, 406, 500), f, a.status, a.body[:200])
        option = (["+Wi", "1"] if ds.get("WindowCenter") not in (None, "") else
                  ["+Wl", "1"] if "VOILUTSequence" in ds else ["+Wm"] if ds.get("BitsStored", 8) > 8 else [])
        want = dcm2pnm(t, f, "+F", "1", *option)
        if a.status != 200 or want is None:
            key = "ours only" if a.status == 200 else "theirs only" if want is not None else "neither"
            if want is not None:
                odd.append(f"{a.status} {pathlib.Path(f).name} {a.body[:120]}")
        elif meant(ds):
            key = "differs, meant: " + meant(ds)
        else:
            m = distance(png(a.body), want)
            if m > 1 and ds.PhotometricInterpretation == "RGB":  # said to be, but coded as YBR: +ca converts
                m = min(m, distance(png(a.body), dcm2pnm(t, f, "+F", "1", *option, "+ca")))
            worst, key = max(worst, m), "same"
            if m > (2 if ds.PhotometricInterpretation.startswith("YBR") else 1):  # DCMTK centres chroma at 127.5
                key = "differs"
                odd.append(f"{m} {pathlib.Path(f).name} {ds.PhotometricInterpretation} {ds.file_meta.TransferSyntaxUID}")
        counts[key] = counts.get(key, 0) + 1
    print("   ", counts, statuses, "largest difference", worst)
    for o in odd:
        print("   ", o)
    check(counts.get("same", 0) > 10 and counts.get("differs", 0) == 0, counts)
    node.stop()


if __name__ == "__main__":
    need("dcm2pnm", "dcmj2pnm")
    if not (BUILD / "src/prog/garonne-pixel").exists():
        print("skipped: no garonne-pixel in this build")
        sys.exit(77)
    run(globals())

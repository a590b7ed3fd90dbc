#!/usr/bin/python3
"""Objects in other transfer syntaxes: against DCMTK, GDCM and dicom3tools, on images made here and on the corpus."""
import csv
import subprocess
import warnings

import numpy
import pydicom
from pydicom.sequence import Sequence
from pydicom.dataset import Dataset

from lib import CORPUS, Skip, check, garonne, make_image, need, run, sh

need("dcmdjpeg", "dcmdjpls", "dcmdrle", "gdcmconv", "dciodvfy")
warnings.simplefilter("ignore")
BASE = "1.2.840.10008.1.2"
LOSSLESS = {"RLE": ".5", "JPEG": ".4.70", "JPEG process 14": ".4.57", "JPEG-LS": ".4.80", "J2K": ".4.90", "HTJ2K": ".4.201",
            "HTJ2K RPCL": ".4.202"}
PLAIN = {"implicit": "", "explicit": ".1", "big endian": ".2", "deflated": ".1.99"}
KNOWN = {"wg04__MR1_JLSL.dcm"}  # not a JPEG-LS stream from its first byte on
ABOUT_PIXELS = {"PixelData", "PhotometricInterpretation", "PlanarConfiguration", "LossyImageCompression"}


def transcode(src, dst, syntax, *flags, ok=0):
    return garonne("transcode", src, dst, "--to", BASE + syntax, *flags, ok=ok)


def reference(path, folder):
    """The object decoded by somebody else, or None."""
    out = folder / "reference.dcm"
    for cmd in (["dcmdjpeg", "--conv-guess"], ["dcmdjpls"], ["dcmdrle"], ["gdcmconv", "--raw"]):
        out.unlink(missing_ok=True)
        p = subprocess.run([*cmd, str(path), str(out)], capture_output=True)
        if p.returncode == 0 and out.exists():
            ds = pydicom.dcmread(out)
            if not ds.file_meta.TransferSyntaxUID.is_compressed:
                yield cmd[0], ds


def pixels(ds):
    """Samples, interleaved, whatever the byte order and planar configuration."""
    kind = numpy.dtype(numpy.uint8 if ds.BitsAllocated <= 8 else numpy.uint16 if ds.BitsAllocated == 16 else numpy.uint32)
    big = ds.file_meta.TransferSyntaxUID == BASE + ".2"
    n = int(ds.get("NumberOfFrames") or 1)
    a = numpy.frombuffer(ds.PixelData, kind.newbyteorder(">") if big else kind)[:n * ds.Rows * ds.Columns * ds.SamplesPerPixel]
    a = a.astype(kind)
    if ds.SamplesPerPixel == 3 and ds.get("PlanarConfiguration") == 1:
        a = a.reshape(n, 3, -1).transpose(0, 2, 1).reshape(-1)
    return a.reshape(-1)


def rest(ds):
    """Everything but what the compression of pixels must change."""
    return {e.tag: (e.VR if e.VR not in ("OB", "OW", "UN") else "O", e.value) for e in ds
            if e.keyword not in ABOUT_PIXELS and e.tag.element != 0 and e.tag.group != 2}


def samples(tmp):
    """(name, path): one of each kind."""
    rng = numpy.random.default_rng(7)
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99X", "été"
    def image(name, **kw):
        path = tmp / f"{name}.dcm"
        ds = make_image(path, rows=kw.pop("rows", 61), cols=kw.pop("cols", 47), **kw)
        ds.ProcedureCodeSequence = Sequence([item])
        ds.private_block(0x0009, "GARONNE TEST", create=True).add_new(0x01, "OB", b"\1\2\3\4")
        return path, ds
    def save(path, ds):
        if len(ds.PixelData) % 2:
            ds.PixelData += b"\0"
        ds.save_as(path)
        return path
    smooth = lambda n, top: (numpy.add.outer(numpy.arange(61), numpy.arange(47)) * 3 + rng.integers(0, 5, (n, 61, 47))) % top
    p, ds = image("u16", bits=16)
    ds.PixelData, ds.BitsStored, ds.HighBit = smooth(1, 4096).astype("uint16").tobytes(), 12, 11
    yield "12 of 16 bits", save(p, ds)
    p, ds = image("s16", bits=16)
    ds.PixelData, ds.PixelRepresentation = (smooth(1, 4096).astype("int16") - 1024).tobytes(), 1
    yield "signed 16 bits", save(p, ds)
    p, ds = image("u8", bits=8, modality="OT")
    ds.PixelData = smooth(1, 256).astype("uint8").tobytes()
    yield "8 bits, an odd number of pixels", save(p, ds)
    p, ds = image("many", bits=16, modality="OT")
    ds.NumberOfFrames, ds.BitsStored, ds.HighBit = 5, 12, 11
    ds.PixelData = smooth(5, 4096).astype("uint16").tobytes()
    yield "5 frames", save(p, ds)
    for planar in (0, 1):
        p, ds = image(f"rgb{planar}", bits=8, modality="OT")
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration, ds.NumberOfFrames = 3, "RGB", planar, 2
        ds.PixelData = rng.integers(0, 256, 61 * 47 * 3 * 2, dtype="uint8").tobytes()
        yield f"2 frames of RGB, planar {planar}", save(p, ds)
    p, ds = image("palette", bits=8, modality="OT")
    ds.PhotometricInterpretation = "PALETTE COLOR"
    for c in ("Red", "Green", "Blue"):
        setattr(ds, f"{c}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{c}PaletteColorLookupTableData", rng.integers(0, 65536, 256, dtype="uint16").tobytes())
    ds.PixelData = smooth(1, 256).astype("uint8").tobytes()
    yield "palette", save(p, ds)


def judged(f):
    return {x for x in sh("dciodvfy", f, ok=None).splitlines() if x.startswith("Error")}


def test_every_lossless_syntax_gives_the_same_pixels(t):
    for name, path in samples(t.tmp):
        source = pydicom.dcmread(path)
        for syntax, suffix in LOSSLESS.items():
            what = f"{name} as {syntax}"
            out = t.tmp / "out.dcm"
            transcode(path, out, suffix)
            made = pydicom.dcmread(out)
            check(made.file_meta.TransferSyntaxUID == BASE + suffix, what, "syntax")
            check(rest(made) == rest(source), what, "the rest of the data set")
            if not syntax.startswith("HTJ2K"):  # too new for it
                check(not judged(out) - judged(path), what, judged(out) - judged(path))
            seen = 0
            for who, ds in reference(out, t.tmp):
                seen += 1
                check((pixels(ds) == pixels(source)).all(), what, "as decoded by", who)
            check(seen or suffix in (".4.201", ".4.202"), what, "nobody could decode it")
            transcode(out, t.tmp / "back.dcm", ".1")
            back = pydicom.dcmread(t.tmp / "back.dcm")
            check((pixels(back) == pixels(source)).all(), what, "and back")
            check(rest(back) == rest(source), what, "and back: the rest")


def test_uncompressed_ones_of_every_kind(t):
    path = dict(samples(t.tmp))["5 frames"]
    source = pydicom.dcmread(path)
    for a, sa in PLAIN.items():
        transcode(path, t.tmp / "a.dcm", sa)
        for b, sb in {**PLAIN, **{k: LOSSLESS[k] for k in ("JPEG-LS", "HTJ2K RPCL")}}.items():
            transcode(t.tmp / "a.dcm", t.tmp / "b.dcm", sb)
            transcode(t.tmp / "b.dcm", t.tmp / "c.dcm", sa)
            for f in ("c.dcm",) if b.startswith(("JPEG", "HTJ2K")) else ("b.dcm", "c.dcm"):
                ds = pydicom.dcmread(t.tmp / f)
                check((pixels(ds) == pixels(source)).all() and rest(ds) == rest(source), a, "to", b, f)


def test_the_offset_table_leads_to_the_frames(t):
    path = dict(samples(t.tmp))["5 frames"]
    transcode(path, t.tmp / "out.dcm", ".4.80")
    raw = bytes(pydicom.dcmread(t.tmp / "out.dcm").PixelData)
    check(int.from_bytes(raw[4:8], "little") == 20, "five offsets")
    base = 8 + 20
    for i in range(5):
        at = base + int.from_bytes(raw[8 + 4 * i:12 + 4 * i], "little")
        check(raw[at:at + 4] == b"\xfe\xff\x00\xe0" and raw[at + 8:at + 10] == b"\xff\xd8", "frame", i)


def test_lossy_only_when_asked_and_never_twice(t):
    path = dict(samples(t.tmp))["8 bits, an odd number of pixels"]
    source = pydicom.dcmread(path)
    refused = transcode(path, t.tmp / "out.dcm", ".4.50", ok=1)
    transcode(path, t.tmp / "out.dcm", ".4.50", "--lossy")
    made = pydicom.dcmread(t.tmp / "out.dcm")
    check(made.SOPInstanceUID != source.SOPInstanceUID, "a new object")
    check(made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID, "in its meta information too")
    check(made.LossyImageCompression == "01" and float(made.LossyImageCompressionRatio) > 1 and
          made.LossyImageCompressionMethod == "ISO_10918_1" and made.ImageType[0] == "DERIVED", "says so")
    transcode(t.tmp / "out.dcm", t.tmp / "plain.dcm", ".1")
    check(pydicom.dcmread(t.tmp / "plain.dcm").LossyImageCompression == "01", "for ever")
    again = transcode(t.tmp / "plain.dcm", t.tmp / "twice.dcm", ".4.50", "--lossy", ok=1)
    check("not once more" in again, again)
    transcode(t.tmp / "plain.dcm", t.tmp / "kept.dcm", ".4.202")
    check("cannot become" in refused, refused)


def test_what_must_not_be_touched(t):
    path = dict(samples(t.tmp))["5 frames"]
    ds = pydicom.dcmread(path)
    ds.DigitalSignaturesSequence = Sequence([Dataset()])
    ds.save_as(t.tmp / "signed.dcm")
    check("digitally signed" in transcode(t.tmp / "signed.dcm", t.tmp / "out.dcm", ".4.80", ok=1), "signed")
    transcode(t.tmp / "signed.dcm", t.tmp / "out.dcm", "")
    del ds.DigitalSignaturesSequence, ds.PixelData
    ds.FloatPixelData, ds.BitsAllocated = numpy.ones(5 * 61 * 47, "float32").tobytes(), 32
    del ds.BitsStored, ds.HighBit, ds.PixelRepresentation
    ds["FloatPixelData"].VR = "OF"
    ds.save_as(t.tmp / "float.dcm")
    check("floating point" in transcode(t.tmp / "float.dcm", t.tmp / "out.dcm", ".4.80", ok=1), "float")


def test_the_corpus_decodes_as_others_decode_it(t):
    if CORPUS is None:
        raise Skip("no corpus")
    n = 0
    for row in csv.DictReader(open(CORPUS / "MANIFEST.tsv"), delimiter="\t"):
        syntax = row["transfer_syntax_uid"].rstrip(".")
        path = CORPUS / row["path"]
        if not syntax.startswith((BASE + ".4.", BASE + ".5")) or not path.is_file() or "malformed" in row["path"]:
            continue
        out = t.tmp / "out.dcm"
        out.unlink(missing_ok=True)
        said = garonne("transcode", path, out, "--to", BASE + ".1", ok=None)
        others = [(who, ds) for who, ds in reference(path, t.tmp) if "PixelData" in ds]
        if not out.exists():
            check(not others or path.name in KNOWN, path.name, said)
            continue
        made = pydicom.dcmread(out)
        if "PixelData" not in made or not others:
            continue
        n += 1
        same = [who for who, ds in others if bytes(ds.PixelData) == bytes(made.PixelData)]
        check(same, path.name, "is not as", [who for who, _ in others])
    check(n > 90, "files compared:", n)





run(globals())

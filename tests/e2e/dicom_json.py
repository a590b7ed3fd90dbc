#!/usr/bin/python3
"""The DICOM JSON model against foreign hands: pydicom and DCMTK's dcm2json, over pydicom's own files, files made here and
the corpus where it is.

Differences that are known and normalised away:
- (0008,0005): ours says ISO_IR 192 once a text is not ASCII (F.2: JSON is UTF-8); pydicom keeps the old one.
- IS and DS: pydicom writes numbers through a double, ours keeps the digits, or a string where a double would lose some.
- FL: the shortest text that reads back as the same float; pydicom writes the double it widens to.
- trailing spaces, empty component groups and trailing ^ of names, which say nothing (dcm2json drops them); empty values
  ("" or null).
- group lengths, which the model does not have (F.2.2); pydicom keeps them.
- VRs: "US or SS" of implicit VR are settled at once by ours; pydicom knows some private dictionaries.
- bytes: long ones are BulkDataURI in ours (compared in length only through the round trip).
- characters that are wrong in the file: each replaces them in its own way.  Texts outside ASCII in VRs that have none
  (CS, DA …), and escapes to GB 2312, which pydicom 2.3 leaves as they are.
- big endian: ours turns bytes of OW, OF … as F.2.7 wants; pydicom copies them.
"""
import base64
import functools
import json
import math
import os
import pathlib
import struct
import subprocess
import sys
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

try:
    import pydicom
    from pydicom.dataset import Dataset
except ImportError:
    print("skipped: python3-pydicom is not installed")
    sys.exit(77)

warnings.simplefilter("ignore")
TOOL = str(lib.BUILD / "dicom_json_test")
NUMBERS = {"US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "IS", "DS"}
TEXTS = {"PN", "LO", "SH", "ST", "LT", "UT", "UC"}


def to_json(path):
    p = subprocess.run([TOOL, "to-json", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    lib.check(p.returncode == 0, f"{path}: {p.stderr.decode()}")
    return p.stdout.decode("utf-8")


def is_readable(path):
    """What is no DICOM to ours (a group missing in front, a wrong VR) is for the tests of the data set."""
    return subprocess.run([TOOL, "to-json", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          timeout=60).returncode == 0


def from_json(path):
    p = subprocess.run([TOOL, "from-json", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    lib.check(p.returncode == 0, f"{path}: {p.stderr.decode()}")
    return p.stdout


@functools.lru_cache
def files(corpus=True):
    folder = pathlib.Path(pydicom.__file__).parent / "data/test_files"
    found = sorted(folder.glob("*.dcm")) + sorted((folder.parent / "charset_files").glob("*.dcm"))
    if not corpus:
        pass
    elif lib.CORPUS:
        found += sorted(p for p in (lib.CORPUS / "dicom").rglob("*.dcm") if "malformed" not in p.parts and
                        p.stat().st_size < 8 << 20)
    else:
        print("the corpus is not here: pydicom's files only")
    readable = [p for p in found if is_readable(p)]
    if len(readable) < len(found):
        print(f"  {len(found) - len(readable)} of {len(found)} files are not read by ours")
    lib.check(len(readable) > 0.95 * len(found), "too many files are not read")
    return readable


def norm_name(v):
    if v is None:
        return []
    if isinstance(v, str):
        v = dict(zip(("Alphabetic", "Ideographic", "Phonetic"), v.split("=", 2)))
    groups = [(v.get(k) or "").rstrip(" ^") for k in ("Alphabetic", "Ideographic", "Phonetic")]
    while groups and groups[-1] == "":
        groups.pop()
    return groups


def norm(vr, v):
    """A value of either side in a form that compares; None for no value."""
    if vr == "PN":
        return norm_name(v) or None
    if v is None or v == "":
        return None
    if vr in NUMBERS:
        try:
            n = float(v) if vr in ("FL", "FD", "DS") else int(v)
            return struct.unpack("<f", struct.pack("<f", n))[0] if vr == "FL" else n
        except (ValueError, OverflowError):
            return str(v).strip(" \0")
    if isinstance(v, str):
        return v.strip(" \0") or None
    return v


def same_number(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= 1e-14 * abs(a)
    return a == b


def same(vr, a, b):
    if a is None or b is None:
        return a is b
    if vr in NUMBERS:
        return same_number(a, b) or same_number(float(a), float(b)) if not isinstance(a, str) and not isinstance(b, str) \
            else str(a) == str(b)
    text = f"{''.join(a)}{''.join(b)}"
    if "\uFFFD" in text or "\x1b" in text or (vr not in TEXTS and not text.isascii()):
        return True
    return a == b


def values(attribute, vr):
    v = [norm(vr, x) for x in attribute.get("Value") or []]
    while v and v[-1] is None and (len(v) == 1 or vr in NUMBERS - {"IS", "DS"}):
        v.pop()  # null says nothing behind binary numbers; some write it
    return v


def compare(ours, theirs, where, bad, swapped=False):
    skip = {t for t in theirs if t.endswith("0000") or t == "00080005"} | {"00080005"}
    for tag in sorted((set(ours) | set(theirs)) - skip):
        at = f"{where}/{tag}"
        a, b = ours.get(tag), theirs.get(tag)
        if a is None or b is None:
            bad.append(f"{at}: {'only theirs' if a is None else 'only ours'}: {str(a or b)[:100]}")
            continue
        vr, other = a["vr"], b["vr"]
        if vr != other:
            if " or " not in other and "UN" not in (vr, other) and not int(tag[3], 16) & 1 and {vr, other} - {"OB", "OW"}:
                bad.append(f"{at}: VR {vr}, theirs {other}")
            continue
        if "BulkDataURI" in a or "BulkDataURI" in b:
            continue
        if vr == "SQ":
            x, y = a.get("Value") or [], b.get("Value") or []
            if len(x) != len(y):
                bad.append(f"{at}: {len(x)} items, theirs {len(y)}")
            for i, (p, q) in enumerate(zip(x, y)):
                compare(p, q, f"{at}[{i}]", bad, swapped)
        elif "InlineBinary" in a or "InlineBinary" in b:
            x, y = (base64.b64decode(m.get("InlineBinary") or "") for m in (a, b))
            if x.rstrip(b"\0") != y.rstrip(b"\0") and not swapped:
                bad.append(f"{at}: bytes differ")
        else:
            x, y = values(a, vr), values(b, vr)
            if len(x) != len(y) or not all(same(vr, p, q) for p, q in zip(x, y)):
                bad.append(f"{at} {vr}: {str(a.get('Value'))[:90]}, theirs {str(b.get('Value'))[:90]}")


def pydicom_json(ds):
    return ds.to_json_dict(bulk_data_threshold=1 << 30)


def read(path):
    return pydicom.dcmread(path, force=True)


def report(bad, n, least):
    lib.check(not bad, f"{len(bad)} differences, the first:\n" + "\n".join(bad[:25]))
    lib.check(n >= least, f"only {n} files compared")
    print(f"  {n} files agree")


# pydicom cannot make JSON of these; what stops it is its own.
def theirs_or_none(make, path):
    try:
        return make(path)
    except Exception as e:
        print(f"  {path.name}: the other side gives up ({type(e).__name__})")
        return None


def test_agrees_with_pydicom(t):
    bad, n = [], 0
    for path in files():
        theirs = theirs_or_none(lambda p: pydicom_json(read(p)), path)
        if theirs:
            big = getattr(read(path).file_meta, "TransferSyntaxUID", "") == "1.2.840.10008.1.2.2"
            compare(json.loads(to_json(path)), theirs, path.name, bad, swapped=big)
            n += 1
    report(bad, n, 40)


def test_pydicom_reads_ours(t):
    bad, n = [], 0
    for path in files():
        ours = json.loads(to_json(path))
        back = theirs_or_none(lambda p: pydicom_json(Dataset.from_json(ours, lambda *a: None)), path)
        if back:
            for attribute in ours.values():
                attribute.pop("BulkDataURI", None)
            compare(ours, back, path.name, bad)
            n += 1
    report(bad, n, 40)


def test_ours_reads_ours_and_pydicom_reads_that(t):
    """File -> our JSON -> our parser -> Part 10 -> pydicom."""
    bad, n = [], 0
    for path in files():
        text = to_json(path)
        (t.tmp / "x.json").write_text(text)
        (t.tmp / "x.dcm").write_bytes(from_json(t.tmp / "x.json"))
        again = json.loads(to_json(t.tmp / "x.dcm"))
        ours = json.loads(text)
        compare(ours, again, path.name, bad)
        theirs = theirs_or_none(lambda p: pydicom_json(read(t.tmp / "x.dcm")), path)
        if theirs:
            compare(ours, theirs, path.name, bad)
            n += 1
    report(bad, n, 40)


def test_agrees_with_dcm2json(t):
    lib.need("dcm2json")
    bad, n = [], 0
    for path in files():
        p = subprocess.run(["dcm2json", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        try:
            theirs = json.loads(p.stdout.decode("utf-8"))
        except ValueError as e:  # charsets it does not know, encapsulated pixels
            print(f"  {path.name}: dcm2json gives up ({p.stderr.decode('utf-8', 'replace').strip()[:80] or e})")
            continue
        compare(json.loads(to_json(path)), theirs, path.name, bad)
        n += 1
    report(bad, n, 20)


def test_foreign_json_comes_back(t):
    """JSON of other programs -> our parser -> Part 10 -> our JSON."""
    if not lib.CORPUS:
        print("  skipped: the corpus is not here")
        return
    bad, n = [], 0
    for name in ("dcm4che__stowrsd-response", "dwc__retrieve_instance_metadata", "dwc__search_for_series",
                 "dwc__search_for_studies", "orth__IM0", "orth__MarekLatin2", "pyd__test1"):
        whole = json.loads((lib.CORPUS / "json" / (name + ".json")).read_text())
        for one in whole if isinstance(whole, list) else [whole]:
            (t.tmp / "x.json").write_text(json.dumps(one))
            (t.tmp / "x.dcm").write_bytes(from_json(t.tmp / "x.json"))
            compare(json.loads(to_json(t.tmp / "x.dcm")), one, name, bad)
            n += 1
    report(bad, n, 7)


def test_made_files_agree(t):
    """What test files rarely have: every VR, several values, empty ones, private blocks, items with a charset of their own."""
    ds = Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    ds.is_little_endian, ds.is_implicit_VR = True, False
    ds.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    ds.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    ds.OtherPatientNames = ["A^B", "C"]
    ds.ImageType = ["ORIGINAL", "", "AXIAL"]
    ds.StudyDescription = ""
    ds.AccessionNumber = None
    ds.FrameIncrementPointer = [0x00181063, 0x00181065]
    for vr, tag, value in (("SV", 0x00720082, [-2**63, 2**53, 5]), ("UV", 0x00720083, [2**64 - 1, 0]),
                           ("FD", 0x00189073, 0.1), ("FL", 0x00089459, 0.1), ("UL", 0x00081161, [1, 2**32 - 1]),
                           ("SL", 0x00186020, -5), ("US", 0x00280010, 512), ("SS", 0x00189219, -3),
                           ("UC", 0x00080119, ["long", "text"]), ("UR", 0x00081190, "http://a/b?c"),
                           ("UT", 0x0040A160, "a\\b\r\nc"), ("LT", 0x00204000, " x\\y"), ("AS", 0x00101010, "030Y"),
                           ("AE", 0x00080054, "STORE"), ("DT", 0x0008002A, "20240705101530.5+0100"),
                           ("OB", 0x00420011, b"abcd"), ("OF", 0x00660016, struct.pack("<2f", 1, 2)),
                           ("OD", 0x00701A09, struct.pack("<d", 1)), ("OL", 0x00660129, struct.pack("<2I", 1, 2)),
                           ("OV", 0x7FE00001, struct.pack("<Q", 1)), ("OW", 0x00281201, b"\1\2")):
        ds.add_new(tag, vr, value)
    block = ds.private_block(0x0029, "GARONNE TEST", create=True)
    block.add_new(1, "LO", ["private", "values"])
    block.add_new(2, "UN", b"\0\1")
    item = Dataset()
    item.SpecificCharacterSet = "ISO_IR 100"
    item.CodeMeaning = "Élise"
    inner = Dataset()
    inner.CodeMeaning = "é"
    item.PurposeOfReferenceCodeSequence = [inner, Dataset()]
    ds.ReferencedStudySequence = [item, Dataset()]
    ds.save_as(t.tmp / "made.dcm", write_like_original=False)
    bad = []
    ours = json.loads(to_json(t.tmp / "made.dcm"))
    compare(ours, pydicom_json(read(t.tmp / "made.dcm")), "made", bad)
    lib.check(ours["00720082"]["Value"] == ["-9223372036854775808", 2**53, 5], ours["00720082"])
    lib.check(ours["00720083"]["Value"] == ["18446744073709551615", 0], ours["00720083"])
    lib.check(ours["00081110"]["Value"][0]["00080104"]["Value"] == ["Élise"], ours["00081110"])
    lib.check(list(ours) == sorted(ours), "not in order")
    report(bad, 1, 1)


if __name__ == "__main__":
    lib.run(globals())

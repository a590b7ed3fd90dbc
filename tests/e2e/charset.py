#!/usr/bin/python3
"""Character sets against foreign hands: Python's codecs for every character of every set, and pydicom for the texts of its
own files and of the corpus where it is.

Known differences, left out:
- pydicom 2.3 leaves escape sequences to ISO-IR 58 (GB 2312) as they are, and splits names at the byte 3D even where that
  is half of a Kanji.
- Under ISO_IR 13 ours reads 7E as the overline, and 5C as the yen sign in long texts (JIS X 0201); Python has ASCII.
- Under ISO_IR 100, and where nothing is said, 80 to 9F are Windows-1252 in ours; Python has control characters.
"""
import os
import pathlib
import random
import subprocess
import sys
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib

TOOL = str(lib.BUILD / "dicom_charset_test")
SINGLE = {"ISO_IR 100": "iso8859_1", "ISO_IR 101": "iso8859_2", "ISO_IR 109": "iso8859_3", "ISO_IR 110": "iso8859_4",
          "ISO_IR 126": "iso8859_7", "ISO_IR 127": "iso8859_6", "ISO_IR 138": "iso8859_8", "ISO_IR 144": "iso8859_5",
          "ISO_IR 148": "iso8859_9", "ISO_IR 166": "iso8859_11", "ISO_IR 203": "iso8859_15"}
DOUBLE = {"\\ISO 2022 IR 87": (b"\x1b$B", 0x21, "euc_jp", b"", 0x80),
          "\\ISO 2022 IR 159": (b"\x1b$(D", 0x21, "euc_jp", b"\x8f", 0x80),
          "\\ISO 2022 IR 149": (b"\x1b$)C", 0xA1, "euc_kr", b"", 0),
          "\\ISO 2022 IR 58": (b"\x1b$)A", 0xA1, "gb2312", b"", 0)}
TEXTS = {"PN", "LO", "SH", "ST", "LT", "UT", "UC"}
# Signs for which the C library and Python chose different code points.
ALIKE = str.maketrans({"\u301c": "~", "\uff5e": "~", "\u2016": "\u2225", "\u2212": "\uff0d", "\u2014": "\u2015",
                       "\u00b7": "\u30fb", "\uff3c": "\\"})


def decode(cases):
    """[(specific, vr, bytes)] as texts."""
    lines = "".join(f"{s.encode('ascii', 'replace').hex() or '-'} {vr} {v.hex() or '-'}\n" for s, vr, v in cases)
    p = subprocess.run([TOOL, "decode"], input=lines, stdout=subprocess.PIPE, timeout=60, text=True)
    lib.check(p.returncode == 0, f"{TOOL} decode failed")
    out = p.stdout.split("\n")[:-1]
    lib.check(len(out) == len(cases), f"{len(out)} answers to {len(cases)} questions")
    return [bytes.fromhex(x).decode("utf-8") for x in out]


def compare(what, cases, want):
    bad = [(c, g, w) for c, g, w in zip(cases, decode(cases), want)
           if g != w and g.translate(ALIKE) != w.translate(ALIKE)]
    lib.check(not bad, f"{what}: {len(bad)} of {len(cases)} differ, first {bad[:3]}")


def test_single_byte_sets(t):
    for term, codec in SINGLE.items():
        values = [bytes([b]) for b in range(0xA0, 0x100)]
        compare(term, [(term, "LO", v) for v in values], [v.decode(codec, "replace") for v in values])


def test_double_byte_sets(t):
    for term, (escape, low, codec, prefix, high) in DOUBLE.items():
        pairs = [bytes([a, b]) for a in range(low, low + 94) for b in range(low, low + 94)]
        known = []
        for p in pairs:
            try:
                known.append((p, (prefix + bytes(x | high for x in p)).decode(codec)))
            except UnicodeDecodeError:
                pass
        lib.check(len(known) > 6000, f"{term}: {len(known)}")
        compare(term, [(term, "LO", escape + p) for p, _ in known], [w for _, w in known])


def test_chinese_encodings(t):
    rnd = random.Random(7)
    for term, codec, top in (("GB18030", "gb18030", 0x2FFFF), ("GBK", "gbk", 0xFFFF)):
        texts = []
        while len(texts) < 2000:
            # without the private use area and the compatibility signs that GB 18030 moved in 2005 and 2022
            c = chr(rnd.choice((rnd.randrange(0x80, top), rnd.randrange(0x4E00, 0x9FA6))))
            if 0xD800 <= ord(c) < 0xF900 or 0xFE10 <= ord(c) < 0xFE20 or 0x9FA6 <= ord(c) < 0xA000 or c in "\u1e3f\u20ac":
                continue
            try:
                texts.append(("a" + c + "\\b", ("a" + c + "\\b").encode(codec)))
            except UnicodeEncodeError:
                pass
        compare(term, [(term, "LO", raw) for _, raw in texts], [text for text, _ in texts])


def elements(ds, inherited=()):
    """The raw texts of a data set and its items, each with the terms in force."""
    own = ds.get("SpecificCharacterSet") or inherited
    terms = [own] if isinstance(own, str) else list(own)
    for tag in ds.keys():
        e = ds.get_item(tag)
        if e.VR == "SQ":
            for item in ds[tag].value:
                yield from elements(item, terms)
        elif e.VR in TEXTS and isinstance(e.value, bytes):
            yield terms, e


def test_texts_of_files(t):
    try:
        import pydicom
    except ImportError:
        print("  skipped: python3-pydicom is not installed")
        return
    from pydicom import charset
    warnings.simplefilter("ignore")
    folder = pathlib.Path(pydicom.__file__).parent / "data"
    files = sorted((folder / "charset_files").glob("*.dcm")) + sorted((folder / "test_files").glob("*.dcm"))
    if lib.CORPUS:
        files += sorted((lib.CORPUS / "dicom/charset").glob("*.dcm"))
    else:
        print("  the corpus is not here: pydicom's files only")
    cases, want, seen = [], [], 0
    for path in files:
        try:
            ds = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            found = list(elements(ds))
        except Exception as e:  # files that are broken on purpose
            print(f"  {path.name}: pydicom: {type(e).__name__}")
            continue
        for terms, e in found:
            raw = e.value.rstrip(b" \0")
            if b"\x1b$)A" in raw or (b"=" in raw and b"\x1b$B" in raw):
                continue
            ends = {"^", "="} if e.VR == "PN" else {"\\", "\n", "\r", "\t", "\f"}
            try:
                text = charset.decode_bytes(raw, charset.convert_encodings(terms or ["ISO_IR 6"]), ends)
            except Exception as why:
                print(f"  {path.name} {e.tag}: pydicom: {why}")
                continue
            seen += any(b >= 0x80 or b == 0x1B for b in raw)
            if any(0x80 <= ord(c) < 0xA0 or c == "\ufffd" for c in text):
                continue  # bytes outside the set: each replaces them in its own way
            cases.append(("\\".join(terms), e.VR, raw))
            want.append(text)
    lib.check(seen >= 15, f"only {seen} texts outside ASCII")
    print(f"  {len(cases)} texts, {seen} outside ASCII")
    compare("files", cases, want)


lib.run(globals())

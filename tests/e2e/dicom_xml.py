#!/usr/bin/python3
"""The Native DICOM Model in XML against DCMTK's dcm2xml, over the files that the JSON model is tested with (and with its
rules of comparison, see dicom_json.py).  Private attributes lose their block in this model: both sides are given new ones."""
import base64
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lib
from dicom_json import compare, files, report, to_json

TOOL = str(lib.BUILD / "dicom_xml_test")


def run(how, path):
    p = subprocess.run([TOOL, how, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    lib.check(p.returncode == 0, f"{how} {path}: {p.stderr.decode()}")
    return p.stdout


def creator_of(a):
    text = base64.b64decode(a["InlineBinary"]).decode() if "InlineBinary" in a else (a.get("Value") or [""])[0]
    return text.strip(" \0")


def blocks(ds):
    """Private attributes by creator; those without one, which the model cannot say, are left out."""
    creators = {t: a for t, a in ds.items() if re.match(r"^...[13579BDF]00[1-9A-F].$", t)}
    out = {}
    for tag, a in ds.items():
        if tag in creators:
            continue
        own = creators.get(tag[:4] + "00" + tag[4:6])
        if not own and int(tag[3], 16) & 1:
            continue
        name = f"{tag[:4]}x{creator_of(own)}/{tag[6:]}" if own else tag
        a = dict(a)
        if a["vr"] == "SQ":
            a["Value"] = [blocks(item) for item in a.get("Value") or []]
        out[name] = a
    return out


def test_what_is_written_is_read_back(t):
    """File -> our XML -> our parser -> our JSON, and file -> our JSON."""
    bad, n = [], 0
    for path in files():
        (t.tmp / "x.xml").write_bytes(run("to-xml", path))
        compare(blocks(json.loads(run("to-json", t.tmp / "x.xml"))), blocks(json.loads(to_json(path))), path.name, bad)
        n += 1
    report(bad, n, 40)


def dcm2xml(path, *options):
    """None when it gives up, or does not say UTF-8 for a text that is not ASCII."""
    p = subprocess.run(["dcm2xml", "--native-format", *options, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       timeout=60)
    try:
        ET.fromstring(p.stdout)
        return p.stdout
    except ET.ParseError as e:
        print(f"  {path.name}: dcm2xml gives up ({p.stderr.decode('utf-8', 'replace').strip()[:80] or e})")
        return None


# What dcm2xml 3.6.7 does otherwise: creators that lie as UN are none, the ideographic group of a name is written a second time
# as the phonetic one, odd lengths are padded, words of private blocks are swapped.  The
# corpus shows more habits of that kind, so it is not compared here.
KNOWN = ("J2K_pixelrep_mismatch.dcm/0009x", "J2K_pixelrep_mismatch.dcm/0019x", "chrX1.dcm/00100010", "chrX2.dcm/00100010",
         "SC_rgb_small_odd.dcm/7FE00010", "waveform_ecg.dcm/1455x", "waveform_ecg.dcm/7001x")


def test_reads_what_dcm2xml_writes(t):
    lib.need("dcm2xml")
    bad, n = [], 0
    for path in files(corpus=False):
        text = dcm2xml(path, "+Eb")
        if text is None:
            continue
        (t.tmp / "x.xml").write_bytes(text)
        compare(blocks(json.loads(run("to-json", t.tmp / "x.xml"))), blocks(json.loads(to_json(path))), path.name, bad)
        n += 1
    report([b for b in bad if not b.startswith(KNOWN)], n, 30)


def number(text):
    """As many digits as both write."""
    try:
        return f"{float(text):.5g}" if re.fullmatch(r"-?[0-9.]+(e[-+]?[0-9]+)?", text) else text
    except ValueError:
        return text


def tree(e):
    """What an element says, without the namespace and blanks between elements."""
    name = e.tag.split("}")[-1]
    if name == "Value":
        return name, e.get("number"), number((e.text or "").strip(" "))
    if name in ("BulkData", "InlineBinary"):
        return "bytes", None, None
    attributes = tuple(e.get(k) for k in ("tag", "vr", "keyword", "privateCreator", "number"))
    inside = [tree(c) for c in e]
    text = (e.text or "").strip() if not inside else ""
    return name, attributes, text, [c for c in inside if c[0] == "bytes" or c[1:] != (None, "", [])]


def test_writes_what_dcm2xml_writes(t):
    """The same elements, attributes and texts, but for numbers (how many digits) and what only one knows."""
    lib.need("dcm2xml")
    same, lines, differ = 0, 0, []
    for path in files(corpus=False):
        text = dcm2xml(path, "+U8")
        if text is None:
            continue
        ours, theirs = (ET.fromstring(x) for x in (run("to-xml", path), text))
        a, b = ({e.get("tag") + (e.get("privateCreator") or ""): tree(e) for e in r} for r in (ours, theirs))
        for tag in a.keys() & b.keys():
            lines += 1
            if a[tag] == b[tag]:
                same += 1
            else:
                differ.append(f"{path.name} {a[tag]}\n      {b[tag]}")
    print(f"  {same} of {lines} attributes are the same to the letter")
    lib.check(lines > 2000 and same > 0.98 * lines, "\n".join(d[:600] for d in differ[:20]))


if __name__ == "__main__":
    lib.run(globals())

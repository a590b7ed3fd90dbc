#!/usr/bin/python3
"""garonne dump against dcmdump: the same tags, VRs and texts for every foreign file that dcmdump reads cleanly."""
import json
import pathlib
import re
import subprocess
import sys

from lib import CORPUS, GARONNE, check, need, run

PYDICOM = pathlib.Path("/usr/lib/python3/dist-packages/pydicom/data/test_files")
LINE = re.compile(r"^\s*\(([0-9a-f]{4}),([0-9a-f]{4})\) (\w\w|\?\?) (.*?)\s*#\s+(?:\d+|u/l), *(\d+) \S.*$", re.S)
START = re.compile(r"^\s*\([0-9a-f]{4},[0-9a-f]{4}\) ")
NUMBERS = {"US", "SS", "UL", "SL"}
TEXTS = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI"}  # no character set, no padding inside


def lines(text):
    """(tag, VR, value) of each element; delimiters, items and group lengths aside."""
    whole = []
    for line in text.split("\n"):
        if START.match(line) or not whole or line.startswith("#"):
            whole.append(line)
        elif line:
            whole[-1] += "\n" + line  # dcmdump prints the line ends of texts
    for line in whole:
        m = LINE.match(line)
        if m and m[1] != "fffe" and m[2] != "0000":
            yield m[1] + m[2], {"up": "UL"}.get(m[3], m[3]), m[4]


def call(*args):
    p = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    return p.returncode, p.stdout.decode("utf-8", "replace"), p.stderr.decode("utf-8", "replace")


def files():
    for root in (CORPUS and CORPUS / "dicom", PYDICOM):
        if root is None or not root.is_dir():
            print(f"{root} is not here: skipped")
            continue
        yield from (p for p in sorted(root.rglob("*")) if p.is_file())


def same(path, ours, theirs):
    """The first difference, or None."""
    if [e[0] for e in ours] != [e[0] for e in theirs]:
        a, b = [e[0] for e in ours], [e[0] for e in theirs]
        odd = sorted(set(a) ^ set(b))[:3] or next((x, y) for x, y in zip(a, b) if x != y)
        return f"tags {len(a)} {len(b)} {odd}"
    for (tag, vr, value), (_, their_vr, their_value) in zip(ours, theirs):
        private = int(tag[:4], 16) % 2 == 1
        if vr != their_vr and not private and {vr, their_vr} != {"OB", "OW"} and "UN" not in (vr, their_vr):
            return f"{tag}: {vr} {their_vr}"
        if vr != their_vr or their_value == "(no value available)" or "\ufffd" in their_value or "..." in their_value + value:
            continue
        if vr in NUMBERS and value.split("\\") != their_value.split("\\"):
            return f"{tag}: {value} {their_value}"
        if vr in TEXTS and value[1:-1].strip() != their_value.strip("[]=").strip().rstrip("\0"):
            return f"{tag}: {value} {their_value}"
    return None


def test_files_dump_as_dcmdump_says(t):
    need("dcmdump")
    compared, wrong = 0, []
    for path in files():
        code, theirs, noise = call("dcmdump", "-Un", "+L", str(path))
        ours_code, ours, _ = call(GARONNE, "dump", str(path))
        check(ours_code in (0, 1), path, "exit code", ours_code)
        if code != 0 or noise or "malformed" in str(path) or ours_code != 0:
            continue  # what dcmdump repairs or refuses is no reference
        compared += 1
        diff = same(path, list(lines(ours)), list(lines(theirs)))
        if diff:
            wrong.append(f"{path.name}: {diff}")
    print(f"{compared} files compared")
    check(not wrong, len(wrong), "differ:", *wrong[:60])


def test_json_is_json(t):
    for n, path in enumerate(files()):
        if n % 10 == 0:
            code, out, _ = call(GARONNE, "dump", "--json", str(path))
            if code == 0:
                check(isinstance(json.loads(out), dict), path)


def test_what_is_no_dicom_fails_in_words(t):
    code, out, words = call(GARONNE, "dump", "/etc/passwd", "/does/not/exist")
    check(code == 1 and out == "" and len(words.splitlines()) == 2, code, words)
    check(call(GARONNE, "dump")[0] == 2)


if __name__ == "__main__":
    sys.exit(run(globals()))

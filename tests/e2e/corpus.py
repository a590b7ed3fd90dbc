"""Foreign files: everything of the corpus, or of python3-pydicom where the corpus is not there, is stored and comes back byte for byte."""
import pathlib

import pydicom
import pydicom.data

from lib import *


def files_of(folder):
    return [f for f in sorted(folder.rglob("*")) if f.is_file()]


def good_files():
    """(path, SOP Instance UID, bytes of the data set) of files that have what an archive needs; first of each UID."""
    if CORPUS is None:
        print("     corpus: not there, skipped; python3-pydicom's files are used alone")
    folders = [pathlib.Path(pydicom.data.__file__).parent / "test_files"] + ([CORPUS / "dicom"] if CORPUS else [])
    seen = {}
    for f in [x for d in folders for x in files_of(d) if "malformed" not in x.parts]:
        if f.read_bytes()[128:132] != b"DICM":
            continue
        try:
            ds = pydicom.dcmread(f, specific_tags=["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID"])
            key = str(ds.SOPInstanceUID)
            usable = all(str(ds.get(k, "")) for k in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"))
            usable = usable and str(ds.file_meta.get("MediaStorageSOPInstanceUID", "")) == key
            usable = usable and str(ds.file_meta.get("TransferSyntaxUID", "")) != ""
        except Exception:
            continue
        if usable and (key, str(ds.SeriesInstanceUID)) not in seen:
            seen[(key, str(ds.SeriesInstanceUID))] = f
    return list(seen.values())


def test_everything_is_kept_byte_for_byte(t):
    n = t.node(start=False)
    files = good_files()
    check(len(files) > 40, len(files))
    out = n.cli("import", *files, "--tenant", "PURPAN", ok=None, timeout=600)
    n.cli("verify")
    n.cli("export", "--tenant", "PURPAN", "--out", t.tmp / "out")
    got = {data_set_bytes(f) for f in (t.tmp / "out").rglob("*.dcm")}
    lost = [f.name for f in files if data_set_bytes(f) not in got]
    check(not lost, f"{len(lost)} of {len(files)} not kept byte for byte: {lost[:10]}\n{out[-2000:]}")
    print(f"     {len(files)} files kept byte for byte")


def test_everything_travels_by_dimse(t):
    n = t.node()
    files = good_files()
    who = ["--called", "PURPAN", "--calling", "ANY"]
    garonne("send", n.host, n.port, *who, *files, ok=None, timeout=600)
    n.stop()
    n.cli("export", "--tenant", "PURPAN", "--out", t.tmp / "out")
    got = {data_set_bytes(f) for f in (t.tmp / "out").rglob("*.dcm")}
    lost = [f.name for f in files if data_set_bytes(f) not in got]
    check(not lost, f"{len(lost)} of {len(files)} not kept byte for byte: {lost[:10]}")


def test_malformed_files_give_errors_and_no_harm(t):
    if CORPUS is None:
        raise Skip("the corpus is not there")
    n = t.node(start=False)
    bad = files_of(CORPUS / "dicom/malformed")
    n.cli("import", *bad, "--tenant", "PURPAN", ok=None)
    for f in bad:
        out = garonne("dump", f, ok=None)
        check("Sanitizer" not in out, f.name, out[-2000:])
    n.cli("verify")
    n.cli("export", "--tenant", "PURPAN", "--out", t.tmp / "out", ok=None)


run(globals())

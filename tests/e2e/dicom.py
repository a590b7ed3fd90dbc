"""Store, find, move and get with DCMTK's stock clients; tenants, peers and their refusals."""
import pathlib
import tarfile
import zlib

from lib import *

need("storescu", "findscu", "movescu", "getscu", "echoscu", "storescp", "dciodvfy")


def sealed(node, seconds=30):
    """All packs sealed (the node runs with a short idle time)."""
    root = pathlib.Path(node.data) / "archive"
    wait_for(lambda: list(root.rglob("*.tar")) and not list(root.rglob("*.tar.open")), seconds)


def yaml(tmp, **archive):
    f = tmp / "garonne.yaml"
    f.write_text("archive:\n" + "".join(f"  {k}: {v}\n" for k, v in archive.items()))
    return f


def test_echo_and_who_may_call(t):
    n = t.node(tenants=("PURPAN", "RANGUEIL"))
    n.dcmtk("echoscu")
    out = n.dcmtk("echoscu", called="NOBODY", ok=None)
    check("Called AE Title Not Recognized" in out, out)
    out = n.dcmtk("echoscu", calling="STRANGER", ok=None)
    check("Calling AE Title Not Recognized" in out, out)
    n.cli("peer", "add", "FARAWAY", "--tenant", "PURPAN", "--host", "192.0.2.1")
    out = n.dcmtk("echoscu", calling="FARAWAY", ok=None)
    check("Calling AE Title Not Recognized" in out, out)
    n.stop()


def test_what_was_sent_comes_back_byte_for_byte(t):
    n = t.node()
    ds, files = make_series(t.tmp / "in", 25, rows=128, cols=128)
    n.dcmtk("storescu", "+sd", "-xi", t.tmp / "in", ok=None)
    n.dcmtk("storescu", *files)
    out = t.tmp / "out"
    out.mkdir()
    sh("getscu", "+B", "-S", "-od", out, "-aet", "GETSCU", "-aec", "PURPAN", n.host, n.port, "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={ds.StudyInstanceUID}")
    got = {data_set_bytes(f) for f in out.iterdir()}
    check(got == {data_set_bytes(f) for f in files}, f"{len(got)} of {len(files)} came back the same")
    n.stop()


def test_packs_are_plain_tar(t):
    n = t.node("--config", yaml(t.tmp, seal_after=1))
    ds, files = make_series(t.tmp / "in", 10)
    n.dcmtk("storescu", *files)
    sealed(n)
    packs = list((pathlib.Path(n.data) / "archive").rglob("*.tar"))
    check(len(packs) == 1, packs)
    out = t.tmp / "x"
    out.mkdir()
    told = sh("tar", "xf", packs[0], "-C", out)
    check(told == "", "tar said", told)
    sh("sha256sum", "-c", "--strict", "SHA256SUMS", cwd=out)
    names = tarfile.open(packs[0]).getnames()
    check([x for x in names if not x.endswith(".dcm")] == ["manifest.json", "metadata.json.gz", "SHA256SUMS"], names)
    check({data_set_bytes(f) for f in out.glob("*.dcm")} == {data_set_bytes(f) for f in files}, "content")
    meta = json.loads(__import__("gzip").open(out / "metadata.json.gz").read())
    check(len(meta) == 10 and meta[0]["0020000D"]["Value"] == [ds.StudyInstanceUID], "metadata")
    sh("dcmdump", next(out.glob("*.dcm")))
    n.stop()


def test_find_at_all_levels(t):
    n = t.node()
    study, series = uid(), uid()
    ds, files = make_series(t.tmp / "a", 3, study=study, series=series, name="LEFÈVRE^JOSÉ", pid="A1", AccessionNumber="X77")
    ds2, files2 = make_series(t.tmp / "b", 2, study=study, modality="MR", name="LEFÈVRE^JOSÉ", pid="A1", AccessionNumber="X77")
    ds3, files3 = make_series(t.tmp / "c", 1, name="MARTIN^PAUL", pid="B2", StudyDate="20250630")
    n.dcmtk("storescu", *files, *files2, *files3)

    def found(*keys, **kw):
        return n.find("PatientName", "StudyInstanceUID", *keys, **kw)

    check(len(found(level="PATIENT", root="-P")) == 2, "patients")
    check(len(found("PatientID=A1", level="PATIENT", root="-P")) == 1, "patient by id")
    for key in ("PatientName=lefevre*", "PatientName=LEFEVRE^JOSE", "PatientName=*jose", "PatientID=A1", "AccessionNumber=X77",
                "StudyDate=20260101-", "StudyDate=20260115", "StudyDate=20260101-20260131", f"StudyInstanceUID={study}",
                f"StudyInstanceUID={study}\\1.2.3", "ModalitiesInStudy=MR", "PatientName=LEF?VRE*"):
        rows = found(key)
        check(len(rows) == 1, key, len(rows))
        check(rows[0].StudyInstanceUID == study, key)
    check(len(found("PatientName=LEFEVR")) == 0, "no prefix match without a wildcard")
    check(len(found("StudyDate=-20251231")) == 1, "open range")
    check(len(found("PatientID=a1")) == 0, "identifiers are exact")
    r = found("PatientID=A1", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "ModalitiesInStudy", "StudyDescription")[0]
    check(r.NumberOfStudyRelatedSeries == 2, r)
    wait_for(lambda: found("PatientID=A1", "NumberOfStudyRelatedInstances")[0].NumberOfStudyRelatedInstances == 5, 5)
    check(sorted(r.ModalitiesInStudy) == ["CT", "MR"], r.ModalitiesInStudy)
    check(str(r.PatientName) == "LEFÈVRE^JOSÉ" and r.RetrieveAETitle == "PURPAN", r)
    rows = n.find(f"StudyInstanceUID={study}", "Modality", "SeriesInstanceUID", level="SERIES")
    check(sorted(x.Modality for x in rows) == ["CT", "MR"], rows)
    rows = n.find(f"StudyInstanceUID={study}", f"SeriesInstanceUID={series}", "SOPInstanceUID", "InstanceNumber", "Rows", level="IMAGE")
    check(len(rows) == 3 and rows[0].Rows == 64 and len({x.SOPInstanceUID for x in rows}) == 3, rows)
    rows = n.find(f"StudyInstanceUID={study}", f"SeriesInstanceUID={series}", f"SOPInstanceUID={rows[1].SOPInstanceUID}", level="IMAGE")
    check(len(rows) == 1, rows)
    out = sh("findscu", "-v", "-S", "-aet", "FINDSCU", "-aec", "PURPAN", n.host, n.port, "-k", "QueryRetrieveLevel=NONSENSE", ok=None)
    check("0xa900" in out.lower() or "DataSetDoesNotMatchSOPClass" in out or "Identifier" in out, out)
    n.stop()


def test_move_counts_and_destinations(t):
    n = t.node()
    ds, files = make_series(t.tmp / "in", 30)
    n.dcmtk("storescu", *files)
    p, port, folder = t.storescp()
    n.cli("peer", "add", "DEST", "--tenant", "PURPAN", "--host", "127.0.0.1", "--port", port)
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={ds.StudyInstanceUID}"]
    out = sh("movescu", "-d", "-S", "-aet", "MOVESCU", "-aec", "PURPAN", "-aem", "DEST", n.host, n.port, *keys)
    check("Completed Suboperations       : 30" in out and "Failed Suboperations          : 0" in out, out[-1500:])
    check({data_set_bytes(f) for f in folder.iterdir()} == {data_set_bytes(f) for f in files}, "moved content")
    out = sh("movescu", "-d", "-S", "-aet", "MOVESCU", "-aec", "PURPAN", "-aem", "UNKNOWN", n.host, n.port, *keys, ok=None)
    check("0xa801" in out.lower(), out[-800:])
    p.kill()
    out = sh("movescu", "-d", "-S", "-aet", "MOVESCU", "-aec", "PURPAN", "-aem", "DEST", n.host, n.port, *keys, ok=None)
    check("Failed Suboperations          : 30" in out and "0xa702" in out.lower(), out[-1500:])
    n.stop()


def test_move_converts_uncompressed_syntaxes(t):
    n = t.node()
    ds, files = make_series(t.tmp / "in", 5)
    n.dcmtk("storescu", *files)
    p, port, folder = t.storescp("+xi")  # implicit little endian only
    n.cli("peer", "add", "DEST", "--tenant", "PURPAN", "--host", "127.0.0.1", "--port", port)
    sh("movescu", "-S", "-aet", "MOVESCU", "-aec", "PURPAN", "-aem", "DEST", n.host, n.port, "-k", "QueryRetrieveLevel=SERIES",
       "-k", f"StudyInstanceUID={ds.StudyInstanceUID}", "-k", f"SeriesInstanceUID={ds.SeriesInstanceUID}")
    import pydicom
    got = [pydicom.dcmread(f) for f in folder.iterdir()]
    check(len(got) == 5 and all(g.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2" for g in got), "implicit copies")
    sent = {pydicom.dcmread(f).SOPInstanceUID: pydicom.dcmread(f) for f in files}
    check(all(g.PixelData == sent[g.SOPInstanceUID].PixelData for g in got), "pixels")
    # what leaves is judged as what came: dciodvfy finds nothing in the converted copy that it did not find before
    judged = lambda f: sorted(x for x in sh("dciodvfy", f, ok=None).splitlines() if not x.startswith("Warning"))
    same = {pydicom.dcmread(f).SOPInstanceUID: judged(f) for f in files}
    for f in folder.iterdir():
        check(judged(f) == same[pydicom.dcmread(f).SOPInstanceUID], "dciodvfy", judged(f))
    n.stop()


def test_single_images_by_a_list_of_uids(t):
    import pydicom
    n = t.node()
    ds, files = make_series(t.tmp / "in", 12)
    n.dcmtk("storescu", *files)
    wanted = [pydicom.dcmread(files[i]).SOPInstanceUID for i in (7, 0, 11)]
    out = t.tmp / "out"
    out.mkdir()
    sh("getscu", "+B", "-S", "-od", out, "-aet", "GETSCU", "-aec", "PURPAN", n.host, n.port, "-k", "QueryRetrieveLevel=IMAGE",
       "-k", f"StudyInstanceUID={ds.StudyInstanceUID}", "-k", f"SeriesInstanceUID={ds.SeriesInstanceUID}",
       "-k", "SOPInstanceUID=" + "\\".join([*wanted, "1.2.3"]))
    check({data_set_bytes(f) for f in out.iterdir()} == {data_set_bytes(files[i]) for i in (7, 0, 11)}, "just the three")
    n.stop()


def test_duplicates_and_conflicts(t):
    n = t.node()
    ds, files = make_series(t.tmp / "in", 3)
    n.dcmtk("storescu", *files)
    n.dcmtk("storescu", *files)
    check(n.metric("garonne_images_duplicate_total") == 3, "duplicates counted")
    raw = bytearray(files[0].read_bytes())
    raw[-1] ^= 1
    (t.tmp / "other.dcm").write_bytes(raw)
    out = n.dcmtk("storescu", "-v", t.tmp / "other.dcm", ok=None)
    check("B000" in out or "0xb000" in out.lower() or "Warning" in out or "Coercion" in out, out)
    show = json.loads(n.cli("tenant", "show", "PURPAN", "--json"))
    check(show["quarantined"] == 1, show)
    out = t.tmp / "out"
    out.mkdir()
    sh("getscu", "+B", "-S", "-od", out, "-aet", "GETSCU", "-aec", "PURPAN", n.host, n.port, "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={ds.StudyInstanceUID}")
    check({data_set_bytes(f) for f in out.iterdir()} == {data_set_bytes(f) for f in files}, "the original is served")
    n.stop()


def test_two_tenants_may_hold_the_same_uids(t):
    n = t.node(tenants=("PURPAN", "RANGUEIL"))
    ds, files = make_series(t.tmp / "in", 2)
    n.dcmtk("storescu", *files)
    check(len(n.find("StudyInstanceUID", called="RANGUEIL")) == 0, "nothing crosses")
    n.dcmtk("storescu", *files, called="RANGUEIL")
    check(len(n.find("StudyInstanceUID", called="RANGUEIL")) == 1 and len(n.find("StudyInstanceUID")) == 1, "each its own")
    n.stop()


def test_restart_finds_everything_as_it_was(t):
    n = t.node()
    ds, files = make_series(t.tmp / "in", 8)
    n.dcmtk("storescu", *files)
    n.stop()
    n.start()
    rows = n.find(f"StudyInstanceUID={ds.StudyInstanceUID}", "NumberOfStudyRelatedInstances")
    check(len(rows) == 1 and rows[0].NumberOfStudyRelatedInstances == 8, rows)
    ds2, more = make_series(t.tmp / "more", 2, study=ds.StudyInstanceUID, series=ds.SeriesInstanceUID)
    n.dcmtk("storescu", *more)
    rows = n.find(f"StudyInstanceUID={ds.StudyInstanceUID}", f"SeriesInstanceUID={ds.SeriesInstanceUID}", "SOPInstanceUID", level="IMAGE")
    check(len(rows) == 10, len(rows))
    n.stop()


def is_deflated(b, content):
    try:
        return zlib.decompressobj(-15).decompress(b) == content
    except zlib.error:
        return False


def test_any_storage_class_and_syntax_is_kept(t):
    """A private SOP class, a compressed syntax, big endian, deflated, kept as received."""
    n = t.node()
    ds = make_image(t.tmp / "a.dcm", rows=32, cols=32)
    sh("dcmconv", "+tb", t.tmp / "a.dcm", t.tmp / "big.dcm")
    n.dcmtk("storescu", "-xb", t.tmp / "big.dcm")
    make_image(t.tmp / "d.dcm", rows=32, cols=32)
    sh("dcmconv", "+td", t.tmp / "d.dcm", t.tmp / "deflated.dcm")
    n.dcmtk("storescu", "-xd", t.tmp / "deflated.dcm")
    make_image(t.tmp / "r.dcm", rows=32, cols=32)
    sh("dcmcrle", t.tmp / "r.dcm", t.tmp / "rle.dcm")
    n.dcmtk("storescu", "-xr", t.tmp / "rle.dcm")
    make_image(t.tmp / "j.dcm", rows=32, cols=32)
    sh("dcmcjpeg", "+e1", t.tmp / "j.dcm", t.tmp / "jpeg.dcm")
    n.dcmtk("storescu", "-xs", t.tmp / "jpeg.dcm")
    n.stop()
    n.cli("export", "--tenant", "PURPAN", "--out", t.tmp / "out")
    got = {data_set_bytes(f) for f in (t.tmp / "out").rglob("*.dcm")}
    lost = [x for x in ("big", "rle", "jpeg") if data_set_bytes(t.tmp / f"{x}.dcm") not in got]
    check(not lost and len(got) == 4, "not kept byte for byte:", lost)
    # storescu deflates anew, and pads to an even length as it likes: the same data set inside
    inflated = zlib.decompressobj(-15).decompress(data_set_bytes(t.tmp / "deflated.dcm"))
    check(any(is_deflated(b, inflated) for b in got), "the deflated one")


run(globals())

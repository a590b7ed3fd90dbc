"""The commands: import, export, verify, doctor, registry, exit codes, beside a running server."""
import os
import pathlib
import shutil

from lib import *


def test_import_folders_zip_and_dicomdir(t):
    n = t.node(start=False)
    ds, files = make_series(t.tmp / "in/deep", 6)
    (t.tmp / "in/readme.txt").write_text("not DICOM")
    r = json.loads(n.cli("import", t.tmp / "in", "--tenant", "PURPAN", "--json"))
    check(r["stored"] == 6 and r["not_dicom"] == 1 and r["failed"] == 0, r)
    r = json.loads(n.cli("import", t.tmp / "in", "--tenant", "PURPAN", "--json"))
    check(r["duplicates"] == 6 and r["stored"] == 0, r)
    ds2, files2 = make_series(t.tmp / "z", 4)
    sh("zip", "-q", "-r", t.tmp / "z.zip", "z", cwd=t.tmp)
    r = json.loads(n.cli("import", t.tmp / "z.zip", "--tenant", "PURPAN", "--json"))
    check(r["stored"] == 4, r)
    disc = t.tmp / "disc"
    (disc / "IMAGES").mkdir(parents=True)
    ds3, files3 = make_series(t.tmp / "d", 3)
    for i, f in enumerate(files3):
        shutil.copy(f, disc / f"IMAGES/IM{i}")
    sh("dcmmkdir", "--recurse", "-Pgp", "-W", "+id", disc, "+D", disc / "DICOMDIR", *[f"IMAGES/IM{i}" for i in range(3)], cwd=disc, ok=None)
    check((disc / "DICOMDIR").exists(), "dcmmkdir made a DICOMDIR")
    (disc / "IMAGES/IM2").unlink()
    out = n.cli("import", disc / "DICOMDIR", "--tenant", "PURPAN", ok=1)
    check("stored 2" in out and "missing 1" in out and "IM2" in out, out)
    out = n.cli("import", t.tmp / "nowhere", "--tenant", "PURPAN", ok=1)
    check("No such file" in out, out)
    garonne("import", t.tmp / "in", ok=2)
    n.cli("import", t.tmp / "in", "--tenant", "NOBODY", ok=1)


def test_import_believes_the_data_set(t):
    """Meta information of another object, or none at all: the object is filed under its own UID."""
    n = t.node(start=False)
    ds = make_image(t.tmp / "a.dcm")
    raw = (t.tmp / "a.dcm").read_bytes()
    mine = str(ds.SOPInstanceUID).encode()
    wrong = raw.replace(mine, mine[:-1] + (b"8" if mine.endswith(b"9") else b"9"), 1)
    (t.tmp / "wrong.dcm").write_bytes(wrong)
    make_image(t.tmp / "b.dcm")
    (t.tmp / "bare").write_bytes(data_set_bytes(t.tmp / "b.dcm"))
    r = json.loads(n.cli("import", t.tmp / "wrong.dcm", t.tmp / "bare", "--tenant", "PURPAN", "--json"))
    check(r["stored"] == 2, r)
    n.cli("export", "--tenant", "PURPAN", "--out", t.tmp / "out")
    check(f"{ds.SOPInstanceUID}.dcm" in [f.name for f in (t.tmp / "out").rglob("*.dcm")], "its own UID")


def test_import_goes_on_where_it_was_cut(t):
    n = t.node(start=False)
    ds, files = make_series(t.tmp / "in", 400, rows=128, cols=128)
    p = subprocess.Popen([GARONNE, "import", t.tmp / "in", "--tenant", "PURPAN", "--data", n.data], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    notes = pathlib.Path(n.data) / "import"
    wait_for(lambda: notes.exists() and any(len(f.read_text().splitlines()) > 20 for f in notes.iterdir()))
    p.kill()
    p.wait()
    r = json.loads(n.cli("import", t.tmp / "in", "--tenant", "PURPAN", "--json"))
    check(r["resumed"] >= 20 and r["failed"] == 0, r)
    check(r["resumed"] + r["stored"] + r["duplicates"] == 400, r)
    n.cli("verify")
    n.cli("export", "--tenant", "PURPAN", "--out", t.tmp / "out")
    check(len(list((t.tmp / "out").rglob("*.dcm"))) == 400, "all there")


def test_export_is_a_tree_that_verifies(t):
    n = t.node()
    ds, files = make_series(t.tmp / "in", 5)
    n.cli("import", t.tmp / "in", "--tenant", "PURPAN")  # beside the server
    wait_for(lambda: len(n.find(f"StudyInstanceUID={ds.StudyInstanceUID}")) == 1)
    n.cli("export", "--tenant", "PURPAN", "--out", t.tmp / "out")
    garonne("verify", "--export", t.tmp / "out")
    one = next((t.tmp / "out").rglob("*.dcm"))
    sh("sha256sum", "-c", "--strict", "SHA256SUMS", cwd=one.parent)
    raw = bytearray(one.read_bytes())
    raw[-1] ^= 1
    one.write_bytes(raw)
    check(one.name in garonne("verify", "--export", t.tmp / "out", ok=1), "named")
    n.cli("reindex")  # beside the server too
    check(len(n.find(f"StudyInstanceUID={ds.StudyInstanceUID}")) == 1, "still found")
    n.stop()


def test_tenants_and_peers_by_words(t):
    d = t.tmp / "data"
    garonne("tenant", "add", "PURPAN", "--name", "CHU", "--aet", "PURPAN", "--data", d)
    check("exists already" in garonne("tenant", "add", "PURPAN", "--name", "CHU", "--aet", "X", "--data", d, ok=1), "code twice")
    check("exists already" in garonne("tenant", "add", "OTHER", "--name", "CHU", "--aet", "PURPAN", "--data", d, ok=1), "AE title twice")
    garonne("tenant", "add", "lower", "--name", "x", "--aet", "Y", "--data", d, ok=2)
    garonne("tenant", "add", "OTHER", "--name", "x", "--aet", "A" * 17, "--data", d, ok=2)
    garonne("tenant", "add", "OTHER", "--name", "x", "--aet", "OTHER", "--services", "nonsense", "--data", d, ok=2)
    garonne("tenant", ok=2)
    garonne("nonsense", ok=2)
    garonne("tenant", "list", ok=2)
    garonne("peer", "add", "CT1", "--tenant", "PURPAN", "--host", "127.0.0.1", "--port", "104", "--data", d)
    garonne("peer", "add", "CT1", "--tenant", "PURPAN", "--port", "99999", "--data", d, ok=2)
    garonne("peer", "set", "CT1", "--tenant", "PURPAN", "--port", "11112", "--data", d)
    peers = json.loads(garonne("peer", "list", "--data", d, "--json"))
    check(peers[0]["port"] == 11112 and peers[0]["host"] == "127.0.0.1", peers)
    reg = json.loads((d / "archive/registry.json").read_text())
    check("PURPAN" in json.dumps(reg) and "CT1" in json.dumps(reg), reg)
    garonne("peer", "remove", "CT1", "--tenant", "PURPAN", "--data", d)
    check(json.loads(garonne("peer", "list", "--data", d, "--json")) == [], "removed")


def test_doctor_says_what_to_mend(t):
    d = t.tmp / "data"
    d.mkdir()
    out = garonne("doctor", "--data", d, ok=1)
    check("garonne tenant add" in out, out)
    garonne("tenant", "add", "PURPAN", "--name", "CHU", "--aet", "PURPAN", "--data", d)
    garonne("peer", "add", "DEST", "--tenant", "PURPAN", "--host", "127.0.0.1", "--port", free_port(), "--data", d)
    r = json.loads(garonne("doctor", "--data", d, "--json"))
    check(any(x["verdict"] == "warning" and "PURPAN/DEST" in x["check"] for x in r), r)
    check(not any(x["verdict"] == "bad" for x in r), r)
    (d / "garonne.yaml").write_text("dimse:\n  nonsense: 1\n")
    check("nonsense" in garonne("doctor", "--data", d, ok=1), "bad key named")


def test_health_endpoints(t):
    n = t.node()
    check("ok" in n.get("/healthz").lower(), "healthz")
    check("ready" in n.get("/readyz").lower() or "ok" in n.get("/readyz").lower(), "readyz")
    ds, files = make_series(t.tmp / "in", 2)
    sh("storescu", "-aec", "PURPAN", n.host, n.port, *files)
    check(n.metric("garonne_images_stored_total") == 2, n.get("/metrics"))
    n.stop()


run(globals())

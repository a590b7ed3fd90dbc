#!/usr/bin/python3
"""The portal in Chromium: sign-in, study list, live arrival, first-image reader, hand-over to the full viewer; and its files over HTTP."""
import json
import os
import pathlib
import subprocess
import sys
import urllib.error
import urllib.request

import lib
from lib import Failed, Skip, check, need, run, sh, uid, wait_for

HERE = pathlib.Path(__file__).resolve().parent
DIST = lib.SOURCE / "web/dist"
SHOTS = os.environ.get("GARONNE_SHOTS")  # a folder: every page is photographed
POINTS = [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
SIZE = 128


def grey(x, centre, width):
    """PS3.3 C.11.2.1.2.1, for 8 bits."""
    if x <= centre - 0.5 - (width - 1) / 2:
        return 0
    if x > centre - 0.5 + (width - 1) / 2:
        return 255
    return ((x - (centre - 0.5)) / (width - 1) + 0.5) * 255


def quarters(values):
    """Pixels of four flat quarters, as stored."""
    import numpy
    a = numpy.zeros((SIZE, SIZE), numpy.uint16)
    h = SIZE // 2
    a[:h, :h], a[:h, h:], a[h:, :h], a[h:, h:] = values
    return a.tobytes()


def hounsfield(number):
    """Of the four quarters of image `number`: each image has its own."""
    return [-60 + 3 * number, -20 + 3 * number, 20 + 3 * number, 60 + 3 * number]


def make_ct(folder, n=9, **kw):
    folder.mkdir(parents=True, exist_ok=True)
    study, series = uid(), uid()
    for i in range(1, n + 1):
        lib.make_image(folder / f"{i}.dcm", study=study, series=series, number=i, rows=SIZE, cols=SIZE, WindowCenter="40", WindowWidth="400",
                       PixelData=quarters([v + 1024 for v in hounsfield(i)]), **kw)
    return study


class Portal:
    def __init__(self, t):
        need("chromium", "node")
        if not (DIST / "index.html").exists():
            raise Skip("the pages are not built (tools/web.sh)")
        self.t = t
        self.node = t.node("--web", str(DIST), tenants=("PURPAN", "CEDRES"))
        self.token = self.add_token("PURPAN")

    def add_token(self, tenant, role="radiologist"):
        return self.node.cli("token", "add", "--tenant", tenant, "--role", role).strip().splitlines()[-1]

    def send(self, folder):
        self.node.dcmtk("storescu", *sorted(folder.glob("*.dcm")), called="PURPAN", calling="STORESCU")

    def start(self, name, **story):
        story = {"base": self.node.http, "token": self.token, "points": POINTS, "shots": SHOTS, **story}
        return subprocess.Popen(["node", HERE / "portal.mjs", name], stdout=subprocess.PIPE, env={**os.environ, "STORY": json.dumps(story)})

    @staticmethod
    def line(p):
        text = p.stdout.readline()
        if not text:
            raise Failed(f"the browser's story ended with {p.wait()}")
        return json.loads(text)

    def end(self, p):
        said = self.line(p)
        p.wait(30)
        check(said["complaints"] == [], "\n".join(said["complaints"]))
        return said["result"]

    def tell(self, name, **story):
        return self.end(self.start(name, **story))

    def get(self, path, token=None, **headers):
        """(status, headers, body)"""
        h = {k.replace("_", "-"): v for k, v in headers.items()}
        if token:
            h["Authorization"] = f"Bearer {token}"
        try:
            with urllib.request.urlopen(urllib.request.Request(self.node.http + path, headers=h), timeout=20) as r:
                return r.status, r.headers, r.read()
        except urllib.error.HTTPError as e:
            return e.code, e.headers, e.read()


def near(got, want, what):
    check(len(got) == len(want) and all(abs(a - b) <= 1 for a, b in zip(got, want)), what, got, "not", [round(w) for w in want])


def test_a_link_or_a_form_signs_in_and_the_token_leaves_the_address(t):
    p = Portal(t)
    lib.make_image(t.tmp / "a.dcm")
    p.node.dcmtk("storescu", t.tmp / "a.dcm", calling="STORESCU")
    r = p.tell("signin")
    check("pas valable" in r["refusal"], r["refusal"])
    check(r["after"] == 401, "signed out, but", r["after"])
    check("token" not in r["url"], r["url"])
    check(r["scriptCookie"] == "", "a script can read the session")
    check(r["axe"] == [], r["axe"])


def test_the_list_searches_sorts_and_is_harmless_and_accessible(t):
    p = Portal(t)
    folder = t.tmp / "in"
    folder.mkdir()
    evil = "<script>window.__owned++</script>^<svg/onload>"
    people = [("LEFÈVRE^Élodie", "20260912"), ("DUPONT^JEAN", "20260110"), ("DUPONT-AIGNAN^ZOÉ", "20250110"), (evil, "20240101")]
    for i, (name, date) in enumerate(people):
        lib.make_image(folder / f"{i}.dcm", name=name, pid=f"P{i}", StudyDate=date, AccessionNumber=f"A{i}", StudyDescription="<img src=x onerror=window.__owned=1>")
    p.send(folder)
    r = p.tell("list", search="dupon", found=2)
    check(len(r["all"]) == 4 and r["all"][0] == "LEFÈVRE Élodie", "newest first", r["all"])
    check(sorted(r["found"]) == ["DUPONT Jean", "DUPONT-AIGNAN Zoé"], r["found"])
    check(r["address"].endswith("?q=dupon"), r["address"])
    check(r["sorted"][-1] == "LEFÈVRE Élodie" and r["sorted"][1] == "DUPONT Jean", r["sorted"])
    check(r["english"] == "Studies", r["english"])
    check(r["script"] is None, "a patient's name ran as a script")
    check(any("<" in n for n in r["all"]), "the odd name is shown as it is", r["all"])
    check(r["axe"] == [], *r["axe"])


def test_a_study_that_arrives_is_shown_without_moving_the_row_under_the_hand(t):
    p = Portal(t)
    for k, name in (("a", "PREMIER^A"), ("b", "DEUXIEME^B"), ("c", "TROISIEME^C")):
        make_ct(t.tmp / k, 3, name=name, pid=k)
    p.send(t.tmp / "a")
    s = p.start("live")
    check(p.line(s)["at"] == "listening")
    p.send(t.tmp / "b")
    check(p.line(s)["at"] == "engaged")
    p.send(t.tmp / "c")
    r = p.end(s)
    check(r["before"] == ["PREMIER A"] and set(r["after"]) == {"PREMIER A", "DEUXIEME B"}, r)
    check(r["kept"] and "1 nouvel examen" in r["offer"], r)
    check(r["growing"] >= 1, r)


def test_the_reader_shows_the_stored_pixels_and_says_that_they_are_exact(t):
    p = Portal(t)
    study = make_ct(t.tmp / "ct", 9, name="<script>window.__owned=1</script>^X")
    make_ct(t.tmp / "other", 3, name="AUTRE^B", pid="B")
    p.send(t.tmp / "ct")
    p.send(t.tmp / "other")
    r = p.tell("read", study=study, preset="4")
    check("Image 5 / 9" in r["first"]["place"], r["first"])
    near(r["first"]["greys"], [grey(v, 40, 400) for v in hounsfield(5)], "middle image in its own window")
    check("Image 1 / 9" in r["home"] and "Image 2 / 9" in r["next"], r["home"], r["next"])
    near(r["preset"]["greys"], [grey(v, 40, 80) for v in hounsfield(2)], "second image in the brain window")
    near(r["inverted"], [255 - grey(v, 40, 80) for v in hounsfield(2)], "inverted")
    check("L 80 C 40" in r["preset"]["window"], r["preset"]["window"])
    check(r["requests"] == 0, "the list had handed the index over, yet it was asked for", r["requests"])
    check(r["focused"] == study, "Escape goes back to the row", r["focused"])
    check(r["script"] is None, "a patient's name ran as a script")
    check(r["axe"] == [], *r["axe"])


def htj2k(ds, path, pixels):
    """Writes the image with its pixels as HTJ2K, lowest resolution first, by OpenJPH's own tool."""
    from pydicom.encaps import encapsulate
    pgm, j2c = path.with_suffix(".pgm"), path.with_suffix(".j2c")
    rows, cols = pixels.shape
    pgm.write_bytes(b"P5\n%d %d\n65535\n" % (cols, rows) + pixels.astype(">u2").tobytes())
    sh("ojph_compress", "-i", pgm, "-o", j2c, "-reversible", "true", "-prog_order", "RPCL", "-num_decomps", "5")
    ds.PixelData = encapsulate([j2c.read_bytes()])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # one that pydicom knows, of the same length
    ds.save_as(str(path), write_like_original=False)
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.4.100", b"1.2.840.10008.1.2.4.202", 1))
    pgm.unlink()
    j2c.unlink()


def test_a_large_study_is_soon_on_the_screen_over_a_slow_line(t):
    p = Portal(t)
    need("ojph_compress")
    import numpy
    import pydicom
    n = 3000 if os.environ.get("GARONNE_LARGE") else 300
    y, x = numpy.mgrid[0:512, 0:512]
    rng = numpy.random.default_rng(7)
    pixels = (1024 + 800 * numpy.sin(x / 40) * numpy.cos(y / 30) + rng.normal(0, 12, (512, 512))).clip(0, 4095).astype(numpy.uint16)
    folder = t.tmp / "large"
    folder.mkdir()
    ds = lib.make_image(folder / "first.dcm", rows=512, cols=512, WindowCenter="0", WindowWidth="2000", number=100001, sop="1.2.3.100001")
    htj2k(ds, folder / "first.dcm", pixels)
    raw = (folder / "first.dcm").read_bytes()
    for i in range(2, n + 1):
        b = raw.replace(b"100001", b"%d" % (100000 + i))
        b = b.replace(b"0\\0\\100001.0", b"0\\0\\%d.0" % (100000 + i))
        (folder / f"{i}.dcm").write_bytes(b)
    p.node.cli("import", folder, "--tenant", "PURPAN")
    r = p.tell("line", study=str(pydicom.dcmread(folder / "first.dcm").StudyInstanceUID))
    print(f"    {n} images of {len(raw)} bytes, 20 Mb/s, 40 ms: {json.dumps(r)}")
    check("preview" in r["kinds"] and r["kinds"][-1] == "exact", r["kinds"])
    check(r["frames"] == f"Image {n} / {n}", r["frames"])
    check(r["warm"]["pixels"] < 3000, "first pixels after", r["warm"])  # a busy test machine; alone it is under one second


def test_the_full_viewer_opens_at_the_same_slice_and_window(t):
    p = Portal(t)
    if not (DIST / "viewer/index.html").exists():
        raise Skip("the full viewer is not there (tools/web.sh)")
    study = make_ct(t.tmp / "ct", 9)
    p.send(t.tmp / "ct")
    r = p.tell("full", study=study, preset="4")
    check("Image 6 / 9" in r["here"], r["here"])
    rows = json.loads(p.get(f"/api/v1/studies/{study}/instances", p.token)[2])["series"][0]
    sop = rows["prefix"] + rows["sop"][rows["each"]["number"].index(6)]
    check(f"/instances/{sop}/" in r["there"]["image"], r["there"], sop)
    check((r["there"]["lower"], r["there"]["upper"]) == (0, 79), r["there"])
    near(r["there"]["greys"], [grey(v, 40, 80) for v in hounsfield(6)], "the full viewer's pixels")


def foreign_kinds():
    """One file of the corpus for each transfer syntax, photometric interpretation and depth: name to (path, study, image)."""
    import pydicom
    kinds = {}
    for f in sorted(lib.CORPUS.rglob("*")):
        if not f.is_file() or "malformed" in f.parts or f.suffix in (".tsv", ".txt", ".md", ".json") or f.stat().st_size > 8 << 20:
            continue
        try:
            ds = pydicom.dcmread(f, defer_size=1024)
            syntax = ds.file_meta.TransferSyntaxUID
        except Exception:
            continue
        if "Rows" in ds and "PixelData" in ds and ds.get("StudyInstanceUID"):
            name = f"{syntax.split('.')[-1]}-{ds.get('PhotometricInterpretation', '')}-{ds.get('BitsAllocated', '')}".replace(" ", "_")
            kinds.setdefault(name, (f, str(ds.StudyInstanceUID), str(ds.SOPInstanceUID)))
    return kinds


def test_the_reader_shows_every_kind_of_image_or_says_why_not(t):
    p = Portal(t)
    if lib.CORPUS is None:
        raise Skip("no corpus of foreign images (GARONNE_CORPUS)")
    kinds = dict(list(foreign_kinds().items())[:30])
    p.node.cli("import", *[f for f, _, _ in kinds.values()], "--tenant", "PURPAN", ok=None)
    r = p.tell("glance", studies={k: v[1:] for k, v in kinds.items()})
    shown = {k for k, v in r.items() if v.get("kind") in ("exact", "lossy", "rendered") and v["levels"] > 1}
    print("    shown:", ", ".join(sorted(shown)), "  said why not:", ", ".join(sorted(set(r) - shown)))
    mute = {k: v for k, v in r.items() if k not in shown and not v["message"]}
    check(not mute, "neither an image nor a word", json.dumps(mute, indent=1))
    # What the browser unpacks by itself; the others need the server's decoders.
    own = {k for k in r if k in ("1-MONOCHROME2-16", "1-MONOCHROME2-8", "1-RGB-8", "50-MONOCHROME2-8", "50-YBR_FULL_422-8")}
    check(own <= shown, "not shown:", json.dumps({k: r[k] for k in own - shown}, indent=1))


def test_the_pages_travel_compressed_cached_and_fenced(t):
    p = Portal(t)
    s, h, body = p.get("/", Accept_Encoding="br, gzip")
    check(s == 200 and h["Content-Encoding"] == "br" and h["Vary"] == "Accept-Encoding", dict(h))
    check("script-src 'self' 'wasm-unsafe-eval'" in h["Content-Security-Policy"] and "unsafe-eval'" not in h["Content-Security-Policy"].replace("wasm-unsafe-eval", ""), h["Content-Security-Policy"])
    check(h["X-Content-Type-Options"] == "nosniff" and h["Referrer-Policy"] == "no-referrer", dict(h))
    check(p.get("/", Accept_Encoding="br", If_None_Match=h["ETag"])[0] == 304)
    check(p.get("/", Accept_Encoding="gzip")[1]["Content-Encoding"] == "gzip")
    check(p.get("/", Accept_Encoding="br;q=0")[1]["Content-Encoding"] is None)
    script = next(x for x in p.get("/")[2].decode().split('"') if x.startswith("/assets/") and x.endswith(".js"))
    s, h, body = p.get(script, Accept_Encoding="br")
    check(s == 200 and "immutable" in h["Cache-Control"] and h["Content-Type"].startswith("text/javascript"), dict(h))
    total = sum(len(p.get("/assets/" + f.name, Accept_Encoding="br")[2]) for f in (DIST / "assets").iterdir() if f.name.startswith(("index-", "dicom-")) and f.suffix == ".js")
    check(total < 300_000, "scripts of the first page:", total)
    check(p.get("/read/1.2.3")[0] == 200 and p.get("/viewer/viewer?StudyInstanceUIDs=1")[0] == 200, "paths of the scripts' own")
    for path in ("/assets/none.js", "/viewer/none.bundle.js", "/../etc/passwd", "/%2e%2e/etc/passwd", "/assets/..%2findex.html", "/.built", "/etc/passwd", "/assets", "/read.html/x"):
        check(p.get(path)[0] in (400, 404), path, p.get(path)[0])


def test_the_session_and_the_list_are_the_tenants_own(t):
    p = Portal(t)
    study = make_ct(t.tmp / "ct", 2)
    p.send(t.tmp / "ct")
    other = p.add_token("CEDRES")
    for path in ("/api/v1/session", "/api/v1/studies", f"/api/v1/studies/{study}/instances", "/api/v1/events"):
        check(p.get(path)[0] == 401, path)
    check(json.loads(p.get("/api/v1/studies", p.token)[2])["found"] == 1)
    check(json.loads(p.get("/api/v1/studies", other)[2])["found"] == 0)
    check(p.get(f"/api/v1/studies/{study}/instances", other)[0] == 404)
    for bad in ("limit=x", "sort=evil", "date=tomorrow", "limit=100000", "offset=-1"):
        check(p.get(f"/api/v1/studies?{bad}", p.token)[0] == 400, bad)
    out = sh("curl", "-si", "-H", "Content-Type: application/json", "-d", json.dumps({"token": p.token}), p.node.http + "/api/v1/session")
    check("HttpOnly" in out and "SameSite=Strict" in out and "Secure" not in out, out)
    out = sh("curl", "-si", "-H", "Content-Type: application/json", "-H", "X-Forwarded-Proto: https", "-d", json.dumps({"token": p.token}), p.node.http + "/api/v1/session")
    check("; Secure" in out, out)
    out = sh("curl", "-si", "-H", "Content-Type: text/plain", "-d", json.dumps({"token": p.token}), p.node.http + "/api/v1/session")
    check(" 400 " in out.splitlines()[0], "another site's form signs in", out)
    for body in ("", "{", '{"token":1}', '{"token":"a;b"}', '{"token":"' + "x" * 3000 + '"}', "[" * 3000):
        out = sh("curl", "-si", "-H", "Content-Type: application/json", "-d", body, p.node.http + "/api/v1/session")
        check(out.split()[1] in ("400", "401"), body[:20], out[:200])


def test_the_instance_index_is_lean_and_right(t):
    p = Portal(t)
    _, files = lib.make_series(t.tmp / "many", 3000, modality="CT", rows=16, cols=16)
    study = lib.uid
    import pydicom
    first = pydicom.dcmread(files[0])
    p.node.cli("import", t.tmp / "many", "--tenant", "PURPAN")
    s, h, body = p.get(f"/api/v1/studies/{first.StudyInstanceUID}/instances", p.token, Accept_Encoding="gzip")
    check(s == 200 and h["Content-Encoding"] == "gzip" and len(body) < 100_000, s, len(body))
    import gzip
    j = json.loads(gzip.decompress(body))
    series = j["series"][0]
    check(len(series["sop"]) == 3000 and series["all"]["rows"] == 16 and series["all"]["icept"] == -1024, series["all"])
    check(series["prefix"] + series["sop"][0] == first.SOPInstanceUID, series["sop"][0])
    check(series["all"]["syntax"] == "1.2.840.10008.1.2.1" and j["pid"] == "IPP0001", j.keys())
    print(f"    3,000 images in {len(body)} bytes")


def test_events_of_another_process_are_heard_and_listeners_end_with_the_node(t):
    p = Portal(t)
    make_ct(t.tmp / "ct", 2)
    other = p.add_token("CEDRES")
    own = subprocess.Popen(["curl", "-sN", "-H", f"Authorization: Bearer {p.token}", p.node.http + "/api/v1/events"], stdout=open(t.tmp / "own", "wb"))
    foreign = subprocess.Popen(["curl", "-sN", "-H", f"Authorization: Bearer {other}", p.node.http + "/api/v1/events"], stdout=open(t.tmp / "foreign", "wb"))
    wait_for(lambda: (t.tmp / "own").stat().st_size > 0 and (t.tmp / "foreign").stat().st_size > 0)
    p.node.cli("import", t.tmp / "ct", "--tenant", "PURPAN")  # a process beside the server
    wait_for(lambda: b"event: study" in (t.tmp / "own").read_bytes())
    check(b"event: study" not in (t.tmp / "foreign").read_bytes(), "another tenant's study was told")
    p.node.stop()
    check(own.wait(10) == 0 and foreign.wait(10) == 0, "streams end whole when the node goes down")


if __name__ == "__main__":
    run(globals())

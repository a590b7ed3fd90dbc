#!/usr/bin/env python3
"""DICOMweb of Garonne beside Orthanc's and beside nginx with the same bytes as files; interleaved rounds, medians, ratios.

Stock clients: curl (one connection, kept open) and wrk (many).  --quick: one round.  --only: metadata,frames,retrieve,stow,connections.
"""
import argparse
import http.client
import io
import multiprocessing
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/e2e"))
from lib import *

need("curl", "wrk", "nginx", "Orthanc")
ap = argparse.ArgumentParser()
ap.add_argument("--quick", action="store_true")
ap.add_argument("--only", default="")
args = ap.parse_args()
ROUNDS = 1 if args.quick else 3
TMP = pathlib.Path(tempfile.mkdtemp(prefix="garonne-bench-", dir=os.environ.get("BENCH_TMP")))
PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
OCTETS = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
figures = {}


def wants(name):
    return not args.only or name in args.only.split(",")


def note(key, value):
    figures.setdefault(key, []).append(value)
    return value


def median(key):
    return statistics.median(figures[key])


def say(key, unit, target, against=None):
    line = f"  {key:44} {median(key):10.1f} {unit}"
    if against:
        line += f"   {against} {median(against):10.1f}   ratio {median(key) / median(against):6.2f}"
    print(f"{line}   (target {target})", flush=True)


class Site:
    """A server with one root of DICOMweb and the headers that it wants."""

    def __init__(self, name, root, headers=()):
        self.name, self.root, self.headers = name, root, list(headers)

    def curl(self, urls, accept):
        """Seconds for all urls, one after the other on one connection."""
        conf = TMP / "curl.conf"
        conf.write_text("".join(f'url = "{self.root}{u}"\noutput = /dev/null\n' for u in urls))
        headers = [x for h in [*self.headers, f"Accept: {accept}"] for x in ("-H", h)]
        t0 = time.monotonic()
        sh("curl", "-sS", "--fail", "--no-progress-meter", *headers, "-K", conf, timeout=600)
        return time.monotonic() - t0

    def wrk(self, urls, accept, clients, seconds=4):
        """(requests a second, MB a second); any error is a failure."""
        script = TMP / "wrk.lua"
        headers = "".join(f'wrk.headers["{h.split(": ", 1)[0]}"] = [[{h.split(": ", 1)[1]}]]\n' for h in [*self.headers, f"Accept: {accept}"])
        host, path = self.root.split("://", 1)[1].partition("/")[::2]
        paths = ",".join(f'"/{path}{u}"' for u in urls)
        script.write_text(f"{headers}local p, i = {{{paths}}}, 0\n"
                          "function request() i = i % #p + 1 return wrk.format('GET', p[i]) end\n"
                          "function done(s) local e = s.errors\n"
                          "io.write(string.format('RESULT %f %f %d\\n', s.requests / s.duration * 1e6, s.bytes / s.duration,"
                          " e.connect + e.read + e.write + e.status + e.timeout)) end\n")
        out = sh("wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "10s", "-s", script, "http://" + host, timeout=120)
        rate, mb, errors = [float(x) for x in out[out.index("RESULT"):].split()[1:4]]
        check(errors == 0, self.name, clients, "clients:", int(errors), "errors")
        return rate, mb


def garonne_site(t, name="garonne", *flags):
    n = t.node(*flags, name=name)
    token = n.cli("token", "add", "--tenant", "PURPAN", "--role", "service").strip()
    s = Site("garonne", n.http + "/dicomweb", [f"Authorization: Bearer {token}"])
    s.node, s.token = n, token
    return s


def orthanc_site(t, name="orthanc"):
    p = t.orthanc(name=name, Plugins=[PLUGIN])
    s = Site("orthanc", p.http + "/dicom-web")
    s.process = p
    return s


def nginx_site(t, folder):
    port = free_port()
    conf = TMP / "nginx.conf"
    conf.write_text(f"""daemon off; worker_processes 2; pid {TMP}/nginx.pid; error_log {TMP}/nginx.err;
events {{ worker_connections 2048; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type application/octet-stream;
  client_body_temp_path {TMP}/nx1; proxy_temp_path {TMP}/nx2; fastcgi_temp_path {TMP}/nx3; uwsgi_temp_path {TMP}/nx4; scgi_temp_path {TMP}/nx5;
  server {{ listen 127.0.0.1:{port}; root {folder}; }} }}""")
    os.chmod(TMP, 0o755)
    t.process("nginx", "-c", conf, "-e", TMP / "nginx.err", name="nginx")
    wait_for(lambda: can_connect(port))
    return Site("nginx", f"http://127.0.0.1:{port}")


def load(sites, files):
    for s in sites:
        if s.name == "garonne":
            sh("storescu", "-aec", "PURPAN", s.node.host, s.node.port, *files, timeout=600)
        elif s.name == "orthanc":
            sh("storescu", "-aec", "ORTHANC", "127.0.0.1", s.process.dicom, *files, timeout=1800)


def seal(site):
    """Restart, so that nothing is in memory, once all packs are sealed."""
    wait_for(lambda: site.node.metric("garonne_packs_open") == 0, 60)
    where = site.node.http
    site.node.stop()
    site.node.start()
    site.root = site.root.replace(where, site.node.http)


def metadata(t):
    print("metadata of a series of 1,000 images and of a study of 3,000 (30 series); gzip accepted")
    ds, files = make_series(TMP / "meta1000", 1000, rows=8, cols=8)
    g, o = garonne_site(t, "garonne", "--config", fast_seal()), orthanc_site(t)
    load([g, o], files)
    study = uid()
    for i in range(30):
        _, more = make_series(TMP / "meta3000" / str(i), 100, rows=8, cols=8, study=study)
        load([g], more)
    url = f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/metadata"
    g.headers.append("Accept-Encoding: gzip")
    o.headers.append("Accept-Encoding: gzip")
    for _ in range(ROUNDS):
        seal(g)
        note("series metadata first, garonne ms", 1000 * g.curl([url], "application/dicom+json"))
        note("series metadata after, garonne ms", 1000 * g.curl([url] * 10, "application/dicom+json") / 10)
        note("study metadata, garonne ms", 1000 * g.curl([f"/studies/{study}/metadata"], "application/dicom+json"))
        note("series metadata, orthanc ms", 1000 * o.curl([url], "application/dicom+json"))
    say("series metadata first, garonne ms", "", "50")
    say("series metadata after, garonne ms", "", "10")
    say("study metadata, garonne ms", "", "150, 3,000 images")
    say("series metadata, orthanc ms", "", "20 or more", "series metadata first, garonne ms")


def fast_seal():
    conf = TMP / "fast.yaml"
    conf.write_text("archive:\n  seal_after: 1\n")
    return conf


def frames(t):
    print("frames of a CT of 200 slices (512 KB each), as stored")
    ds, files = make_series(TMP / "ct200", 200, rows=512, cols=512)
    g, o = garonne_site(t, "garonne", "--config", fast_seal()), orthanc_site(t)
    load([g, o], files)
    seal(g)
    import pydicom
    www = TMP / "www"
    www.mkdir()
    names, urls = [], []
    for i, f in enumerate(files):
        d = pydicom.dcmread(f)
        (www / f"{i}.raw").write_bytes(d.PixelData)
        names.append(f"/{i}.raw")
        urls.append(f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{d.SOPInstanceUID}/frames/1")
    x = nginx_site(t, www)
    for _ in range(ROUNDS):
        note("frames, 1 client, garonne /s", len(urls) / g.curl(urls, OCTETS))
        note("frames, 1 client, orthanc /s", 40 / o.curl(urls[:40], OCTETS))
        note("frames, 1 client, nginx /s", len(urls) / x.curl(names, "*/*"))
        note("frames, 16 clients, garonne MB/s", g.wrk(urls, OCTETS, 16)[1])
        note("frames, 16 clients, nginx MB/s", x.wrk(names, "*/*", 16)[1])
    say("frames, 1 client, garonne /s", "", "10", "frames, 1 client, orthanc /s")
    say("frames, 1 client, garonne /s", "", "-", "frames, 1 client, nginx /s")
    say("frames, 16 clients, garonne MB/s", "", "0.8", "frames, 16 clients, nginx MB/s")


def retrieve(t):
    print("instances one by one, and whole studies (200 images of 512 KB), as stored")
    ds, files = make_series(TMP / "ct200r", 200, rows=512, cols=512)
    g = garonne_site(t, "garonne", "--config", fast_seal())
    load([g], files)
    seal(g)
    www = TMP / "www2"
    www.mkdir()
    with open(www / "study", "wb") as f:
        for x in files:
            f.write(x.read_bytes())
    for i, x in enumerate(files):
        shutil.copy(x, www / f"{i}.dcm")
    import pydicom
    uids = [pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID for f in files]
    mb = sum(f.stat().st_size for f in files) / 1e6
    x = nginx_site(t, www)
    base = f"/studies/{ds.StudyInstanceUID}"
    one = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    for _ in range(ROUNDS):
        note("instances, garonne MB/s", mb / g.curl([f"{base}/series/{ds.SeriesInstanceUID}/instances/{u}" for u in uids], one))
        note("instances, nginx MB/s", mb / x.curl([f"/{i}.dcm" for i in range(len(files))], "*/*"))
        note("study, garonne MB/s", 5 * mb / g.curl([base] * 5, one))
        note("study, nginx MB/s", 5 * mb / x.curl(["/study"] * 5, "*/*"))
    say("instances, garonne MB/s", "", "0.8", "instances, nginx MB/s")
    say("study, garonne MB/s", "", "0.8", "study, nginx MB/s")


def post(where, token, bodies):
    """One client: requests one after the other on one connection; answers that are not 200."""
    bad = 0
    c = http.client.HTTPConnection(where, timeout=120)
    for b in bodies:
        c.request("POST", "/dicomweb/studies", b, {"Content-Type": 'multipart/related; type="application/dicom"; boundary=GARONNEBENCH',
                                                   "Authorization": f"Bearer {token}", "Accept": "application/dicom+json"})
        r = c.getresponse()
        r.read()
        bad += r.status != 200
    if bad:
        raise SystemExit(1)


def body(files):
    b = io.BytesIO()
    for f in files:
        b.write(b"--GARONNEBENCH\r\nContent-Type: application/dicom\r\n\r\n" + f.read_bytes() + b"\r\n")
    b.write(b"--GARONNEBENCH--\r\n")
    return b.getvalue()


def stow(t):
    print("STOW-RS, 4 clients, 5 KB images, durable")
    series = [make_series(TMP / f"stow{i}", 1000, rows=48, cols=48)[1] for i in range(4)]
    for per, n in ((1, 400), (20, 1000)):
        for r in range(ROUNDS):
            g = garonne_site(t, f"stow-{per}-{r}")
            bodies = [[body(s[i:i + per]) for i in range(0, n, per)] for s in series]
            ps = [multiprocessing.Process(target=post, args=(g.node.http[7:], g.token, b)) for b in bodies]
            t0 = time.monotonic()
            [p.start() for p in ps]
            [p.join() for p in ps]
            seconds = time.monotonic() - t0
            check(all(p.exitcode == 0 for p in ps), "a STOW request failed")
            note(f"STOW, {per} a request, images/s", 4 * n / seconds)
            g.node.kill()
            shutil.rmtree(g.node.data)
        say(f"STOW, {per} a request, images/s", "", "1,000")


def connections(t):
    print("128, 256 and 5,000 connections at once; frames of 8 KB")
    ds, files = make_series(TMP / "small", 50, rows=64, cols=64)
    g = garonne_site(t, "garonne", "--config", fast_seal())
    load([g], files)
    seal(g)
    import pydicom
    urls = [f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID}/frames/1"
            for f in files]
    for clients in (16, 128, 256, 5000):
        rate, _ = g.wrk(urls, OCTETS, clients)
        note(f"{clients} connections, frames/s", rate)
        say(f"{clients} connections, frames/s", "", "no stall")
    print(f"  resident {g.node.rss_kb() / 1024:.0f} MB", flush=True)


try:
    for name, what in (("metadata", metadata), ("frames", frames), ("retrieve", retrieve), ("stow", stow), ("connections", connections)):
        if wants(name):
            nodes = []
            try:
                what(Test(TMP, nodes))
            finally:
                for x in nodes:
                    x.kill()
                for d in ("garonne", "orthanc"):
                    shutil.rmtree(TMP / d, ignore_errors=True)
finally:
    shutil.rmtree(TMP, ignore_errors=True)
for k, v in figures.items():
    print(f"{k:44} median {statistics.median(v):10.1f}  of {', '.join(f'{x:.1f}' for x in v)}")

"""Kill, cut, fill, corrupt: nothing acknowledged is lost, nothing breaks, service goes on."""
import os
import pathlib
import random
import re
import socket
import struct
import threading

from lib import *

need("storescu", "findscu")


def acknowledged(out):
    """The files that storescu -v saw a success for, in order."""
    done, current = [], None
    for line in out.splitlines():
        m = re.search(r"Sending file: (.*)$", line)
        if m:
            current = m.group(1).strip()
        if re.search(r"Received Store Response \(Success\)", line) and current:
            done.append(current)
            current = None
    return done


def test_kill_9_while_8_associations_send(t):
    n = t.node()
    sets = [make_series(t.tmp / f"in{i}", 120, rows=160, cols=160) for i in range(8)]
    rng, done = random.Random(1), {}
    for round_ in range(int(os.environ.get("GARONNE_KILLS", "6"))):
        procs = [subprocess.Popen(["storescu", "-v", "-aec", "PURPAN", n.host, str(n.port), *map(str, files[round_ * 15:round_ * 15 + 40])],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for ds, files in sets]
        time.sleep(rng.uniform(0.15, 0.6))
        n.kill()
        for p in procs:
            for f in acknowledged(p.communicate(timeout=60)[0].decode()):
                done[f] = data_set_bytes(f)
        t0 = time.monotonic()
        n.start()
        check(time.monotonic() - t0 < 10, "restart took", time.monotonic() - t0)
    check(len(done) > 20, "too little was acknowledged to prove anything:", len(done))
    n.stop()
    n.cli("verify")
    n.cli("export", "--tenant", "PURPAN", "--out", t.tmp / "out")
    got = {data_set_bytes(f) for f in (t.tmp / "out").rglob("*.dcm")}
    lost = [f for f, b in done.items() if b not in got]
    check(not lost, f"{len(lost)} of {len(done)} acknowledged images lost: {lost[:3]}")
    print(f"     {len(done)} acknowledged images, all there")


def dump(n):
    rows = {}
    for code in ("PURPAN", "RANGUEIL"):
        study = n.find("StudyInstanceUID", "PatientName", "PatientID", "StudyDate", "AccessionNumber", "ModalitiesInStudy",
                       "NumberOfStudyRelatedInstances", "NumberOfStudyRelatedSeries", called=code)
        rows[code] = sorted(str(sorted((e.keyword, str(e.value)) for e in d if e.keyword != "RetrieveAETitle")) for d in study)
    return rows


def test_reindex_restores_everything(t):
    n = t.node(tenants=("PURPAN", "RANGUEIL"))
    for i in range(3):
        ds, files = make_series(t.tmp / f"p{i}", 4, name=f"ÉTÉ^N{i}", pid=f"P{i}")
        n.dcmtk("storescu", *files)
    ds, files = make_series(t.tmp / "r", 3, name="AUTRE^B", pid="P0")
    n.dcmtk("storescu", *files, called="RANGUEIL")
    n.stop()
    n.cli("import", t.tmp / "p1", "--tenant", "RANGUEIL")
    n.start()
    before = dump(n)
    tenants, peers = n.cli("tenant", "list", "--json"), n.cli("peer", "list", "--json")
    n.stop()
    for f in pathlib.Path(n.data).glob("index.sqlite*"):
        f.unlink()
    n.cli("reindex")
    n.start()
    check(dump(n) == before, "answers differ after reindex", before, dump(n))
    strip = lambda s: sorted(str({k: v for k, v in x.items() if k != "id"}) for x in json.loads(s))
    check(strip(n.cli("tenant", "list", "--json")) == strip(tenants), "tenants")
    check(strip(n.cli("peer", "list", "--json")) == strip(peers), "peers")
    n.stop()


def test_verify_names_a_flipped_byte(t):
    n = t.node()
    ds, files = make_series(t.tmp / "in", 5)
    n.stop()
    n.cli("import", t.tmp / "in", "--tenant", "PURPAN")
    n.cli("verify")
    pack = next((pathlib.Path(n.data) / "archive").rglob("*.tar"))
    raw = bytearray(pack.read_bytes())
    at = raw.find(data_set_bytes(files[2])[-64:])
    raw[at + 10] ^= 0x40
    pack.write_bytes(raw)
    import pydicom
    out = n.cli("verify", ok=1)
    check(pydicom.dcmread(files[2]).SOPInstanceUID in out, out)
    n.cli("export", "--tenant", "PURPAN", "--out", t.tmp / "out", ok=None)


def test_full_disk_answers_a700_and_goes_on(t):
    if os.geteuid() != 0:
        raise Skip("needs root for a small tmpfs")
    small = t.tmp / "small"
    small.mkdir()
    sh("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small)
    try:
        n = Node(small / "data", start=False)
        t.nodes.append(n)
        n.log = t.tmp / "node.log"  # not on the full disk
        n.start()
        ds, files = make_series(t.tmp / "in", 60, rows=512, cols=512)
        out = n.dcmtk("storescu", "-v", *files, ok=None)
        ok = len(acknowledged(out))
        check(0 < ok < 60, f"{ok} stored on 24 MB")
        check("Refused: OutOfResources" in out or "0xa700" in out.lower(), out[-1500:])
        n.dcmtk("echoscu")
        n.stop()
        sh("mount", "-o", "remount,size=96m", small)
        n.start()
        n.dcmtk("storescu", *files)
        wait_for(lambda: n.find(f"StudyInstanceUID={ds.StudyInstanceUID}", "NumberOfStudyRelatedInstances")[0].NumberOfStudyRelatedInstances == 60, 10)
        n.stop()
        n.cli("verify")
    finally:
        for n in t.nodes:
            n.kill()
        sh("umount", small, ok=None)


def pdu_rq(called=b"PURPAN", calling=b"STORESCU", max_pdu=16384):
    item = lambda k, b: struct.pack(">BBH", k, 0, len(b)) + b
    ctx = item(0x20, b"\x01\0\0\0" + item(0x30, b"1.2.840.10008.1.1") + item(0x40, b"1.2.840.10008.1.2"))
    user = item(0x50, item(0x51, struct.pack(">I", max_pdu)) + item(0x52, b"1.2.3"))
    body = struct.pack(">HH", 1, 0) + called.ljust(16) + calling.ljust(16) + b"\0" * 32 + item(0x10, b"1.2.840.10008.3.1.1.1") + ctx + user
    return struct.pack(">BBI", 1, 0, len(body)) + body


def dial(n):
    s = socket.create_connection((n.host, n.port), 10)
    s.settimeout(15)
    return s


def test_300_idle_associations_do_not_harm(t):
    n = t.node()
    socks = []
    for _ in range(300):
        s = dial(n)
        s.sendall(pdu_rq())
        check(s.recv(6)[0] == 2, "accepted")
        socks.append(s)
    ds, files = make_series(t.tmp / "in", 5)
    n.dcmtk("storescu", *files)
    check(n.rss_kb() < 150 * 1024, "resident", n.rss_kb())
    for s in socks:
        s.close()
    n.dcmtk("echoscu")
    n.stop()


def test_hostile_peers_are_cut_and_others_unharmed(t):
    n = t.node()
    attacks = {
        "garbage": os.urandom(4096),
        "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "oversized association": struct.pack(">BBI", 1, 0, 0xFFFFFFF0),
        "data first": struct.pack(">BBI", 4, 0, 12) + b"\0\0\0\x08\x01\x03" + b"\0" * 6,
        "oversized data": pdu_rq() + struct.pack(">BBI", 4, 0, 0xF0000000),
        "pdv beyond pdu": pdu_rq() + struct.pack(">BBIIBB", 4, 0, 6, 0xFFFF, 1, 3),
        "unknown context": pdu_rq() + struct.pack(">BBIIBB", 4, 0, 8, 4, 77, 3) + b"\0\0",
        "twice associated": pdu_rq() + pdu_rq(),
        "bad command": pdu_rq() + struct.pack(">BBIIBB", 4, 0, 14, 10, 1, 3) + b"\xff" * 8,
    }
    for what, data in attacks.items():
        s = dial(n)
        s.sendall(data)
        try:
            while s.recv(4096):
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass
        except socket.timeout:
            raise Failed(f"{what}: still connected after 15 s")
        s.close()
        n.dcmtk("echoscu")
    slow = dial(n)
    rq = pdu_rq()
    slow.sendall(rq[:20])

    def drip():
        try:
            for b in rq[20:]:
                slow.sendall(bytes([b]))
                time.sleep(0.4)
        except OSError:
            return

    th = threading.Thread(target=drip, daemon=True)
    th.start()
    ds, files = make_series(t.tmp / "in", 3)
    n.dcmtk("storescu", *files)
    slow.settimeout(20)
    t0 = time.monotonic()
    try:
        while slow.recv(100):
            pass
    except OSError:
        pass
    check(time.monotonic() - t0 < 18, "the slow one is cut by ARTIM")
    slow.close()
    gone = dial(n)
    gone.sendall(pdu_rq())
    gone.recv(6)
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()
    n.dcmtk("echoscu")
    check(n.p.poll() is None, "the node lives")
    n.stop()


def test_sigterm_lets_a_transfer_end(t):
    n = t.node()
    ds, files = make_series(t.tmp / "in", 100, rows=256, cols=256)
    p = subprocess.Popen(["storescu", "-v", "-aec", "PURPAN", n.host, str(n.port), *map(str, files)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    time.sleep(0.1)
    n.stop(30)
    done = acknowledged(p.communicate(timeout=60)[0].decode())
    n.cli("export", "--tenant", "PURPAN", "--out", t.tmp / "out")
    got = {data_set_bytes(f) for f in (t.tmp / "out").rglob("*.dcm")}
    check(all(data_set_bytes(f) in got for f in done), "acknowledged before SIGTERM")


run(globals())

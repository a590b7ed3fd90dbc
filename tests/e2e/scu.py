"""garonne echo, send, find, get, move, bench: the client side, against ourselves and DCMTK."""
from lib import *

need("storescp")


def test_scu_commands(t):
    n = t.node()
    ds, files = make_series(t.tmp / "in", 4)
    who = ["--called", "PURPAN", "--calling", "ANY"]
    garonne("echo", n.host, n.port, *who)
    garonne("send", n.host, n.port, *who, t.tmp / "in")
    rows = json.loads(garonne("find", n.host, n.port, *who, "--level", "STUDY", "PatientName=dupont*", "StudyInstanceUID", "--json"))
    check(len(rows) == 1 and rows[0]["0020000D"]["Value"] == [ds.StudyInstanceUID], rows)
    garonne("get", n.host, n.port, *who, f"StudyInstanceUID={ds.StudyInstanceUID}", "--out", t.tmp / "got")
    check({data_set_bytes(f) for f in (t.tmp / "got").rglob("*.dcm")} == {data_set_bytes(f) for f in files}, "got")
    p, port, folder = t.storescp()
    n.cli("peer", "add", "DEST", "--tenant", "PURPAN", "--host", "127.0.0.1", "--port", port)
    garonne("move", n.host, n.port, *who, "--dest", "DEST", f"StudyInstanceUID={ds.StudyInstanceUID}")
    check(len(list(folder.iterdir())) == 4, "moved")
    garonne("echo", n.host, n.port, "--called", "NOBODY", ok=1)
    garonne("echo", n.host, ok=2)
    out = garonne("bench", n.host, n.port, *who, "--associations", "2", "--images", "50", "--size", "20000")
    check("images/s" in out, out)
    n.stop()


run(globals())

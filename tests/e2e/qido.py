#!/usr/bin/env python3
"""Who may call over HTTP, and searches (QIDO-RS)."""
import urllib.parse

from lib import *


def values(rows, tag):
    return [r.get(tag, {}).get("Value", [None])[0] for r in rows]


def loaded(t, *flags):
    """A node with three studies of PURPAN (3 + 2 + 1 images) and one of RANGUEIL with the same UIDs as the first."""
    n = t.node(*flags, tenants=("PURPAN", "RANGUEIL"))
    first, files = make_series(t.tmp / "a", 3, name="DUPONT^JEAN", pid="P1", StudyDate="20260101", AccessionNumber="A1")
    second, more = make_series(t.tmp / "b", 2, modality="MR", name="MULLER^ANNE", pid="P2", StudyDate="20260201", AccessionNumber="A2")
    make_image(t.tmp / "c.dcm", modality="CR", name="<script>alert(1)</script>", pid="P3", StudyDate="20260301", AccessionNumber="A3")
    n.dcmtk("storescu", *files, *more, t.tmp / "c.dcm")
    n.dcmtk("storescu", *files, called="RANGUEIL")
    a = token(n)
    wait_for(lambda: sorted(values(ask(n, "/studies", a)[0], "00201208")) == [1, 2, 3])  # counted once a second
    return n, first, second


def test_only_a_token_of_the_tenant_opens_the_door(t):
    n, first, _ = loaded(t)
    a, b = token(n), token(n, "RANGUEIL")
    ask(n, "/studies", ok=401)
    ask(n, "/studies", "grn_" + "x" * 43, ok=401)
    ask(n, "/studies", a, root="/t/RANGUEIL/dicomweb", ok=404)
    ask(n, "/studies", a, root="/t/NOBODY/dicomweb", ok=404)
    check(len(ask(n, "/studies", a)[0]) == 3)
    check(len(ask(n, "/studies", a, root="/t/PURPAN/dicomweb")[0]) == 3)
    check(len(ask(n, "/studies", b)[0]) == 1, "the same UIDs, another tenant's study alone")
    check(len(ask(n, "/studies", headers={"Cookie": f"other=1; garonne={a}"})[0]) == 3, "the cookie is as good")
    check(ask(n, "/studies?PatientID=P2", b)[0] == [], "nothing of the other tenant")


def test_a_revoked_token_closes_within_ten_seconds(t):
    n, _, _ = loaded(t)
    a = token(n, "PURPAN", "radiologist", "--name", "reading room", "--days", "30")
    ask(n, "/studies", a)
    rows = [r for r in json.loads(n.cli("token", "list", "--json")) if r["name"] == "reading room"]
    check([r["role"] for r in rows] == ["radiologist"], rows)
    check(a not in json.dumps(rows), "the text is never shown again")
    n.cli("token", "revoke", rows[0]["id"])
    time.sleep(10.1)
    ask(n, "/studies", a, ok=401)
    n.cli("token", "revoke", rows[0]["id"], ok=1)
    n.cli("token", "add", "--tenant", "PURPAN", "--role", "king", ok=2)
    n.cli("token", "add", "--tenant", "NOBODY", "--role", "service", ok=1)


def test_studies_are_found_by_every_kind_of_key(t):
    n, first, second = loaded(t)
    a = token(n)
    for query, want in (("", ["P3", "P2", "P1"]), ("PatientID=P1", ["P1"]), ("00100020=P2", ["P2"]), ("PatientName=dupont*", ["P1"]),
                        ("PatientName=m%C3%BCller*", ["P2"]), ("StudyDate=20260101-20260215", ["P2", "P1"]), ("StudyDate=20260215-", ["P3"]),
                        ("ModalitiesInStudy=CT", ["P1"]), ("AccessionNumber=A*", ["P3", "P2", "P1"]), ("AccessionNumber=A?&PatientID=P3", ["P3"]),
                        (f"StudyInstanceUID={first.StudyInstanceUID},{second.StudyInstanceUID}", ["P2", "P1"]), ("PatientID=", ["P3", "P2", "P1"]),
                        ("PatientID=NONE", []), ("limit=1", ["P3"]), ("limit=1&offset=1", ["P2"]), ("offset=3", []), ("limit=0", [])):
        rows, head = ask(n, "/studies?" + query, a)
        check(values(rows, "00100020") == want, query, values(rows, "00100020"))
        check(head["Content-Type"] == "application/dicom+json")
    row = ask(n, "/studies?PatientID=P1", a)[0][0]
    check(row["00201208"]["Value"] == [3] and row["00201206"]["Value"] == [1] and row["00080061"]["Value"] == ["CT"], row)
    check(row["00081190"]["Value"] == [f"{n.http}/dicomweb/studies/{first.StudyInstanceUID}"], row["00081190"])
    check(row["00100010"]["Value"] == [{"Alphabetic": "DUPONT^JEAN"}] and row["00080056"]["Value"] == ["ONLINE"])


def test_series_and_instances_are_found_relationally_too(t):
    n, first, second = loaded(t)
    a = token(n)
    study, series = first.StudyInstanceUID, first.SeriesInstanceUID
    for path, want in (("/series", 3), ("/instances", 6), (f"/studies/{study}/series", 1), (f"/studies/{study}/instances", 3),
                       (f"/studies/{study}/series/{series}/instances", 3), ("/series?Modality=MR", 1), ("/instances?Modality=MR", 2),
                       ("/series?PatientName=DUPONT*", 1), (f"/studies/{study}/series/{second.SeriesInstanceUID}/instances", 0),
                       (f"/studies/{study}/instances?InstanceNumber=100002", 1), ("/studies/1.2.3/series", 0), ("/instances?Rows=64", 6), ("/instances?ModalitiesInStudy=MR", 2), ("/series?ModalitiesInStudy=MR", 1),
                       ("/instances?Rows=65", 0)):
        rows, _ = ask(n, path, a)
        check(len(rows) == want, path, len(rows))
    row = ask(n, f"/studies/{study}/series/{series}/instances?limit=1&includefield=KVP&includefield=00080070,PixelSpacing", a)[0][0]
    check(row["00280010"]["Value"] == [64] and row["00180060"]["Value"] == [120] and "00080070" in row and "00280030" in row, row)
    check("00100010" not in row, "what the path says is not repeated")
    check(row["00081190"]["Value"][0].endswith("/instances/" + row["00080018"]["Value"][0]))
    row = ask(n, "/instances?PatientID=P1&limit=1", a)[0][0]
    check("00100010" in row and row["00201208"]["Value"] == [3] and row["00080061"]["Value"] == ["CT"], "without a path it is")
    check("00280100" in ask(n, f"/studies/{study}/instances?includefield=all&limit=1", a)[0][0])


def test_fuzzy_names_are_words_in_any_order(t):
    n, first, _ = loaded(t)
    a = token(n)
    for name, want in (("jean%20dupont", ["P1"]), ("jea^dup", ["P1"]), ("anne%20m%C3%BCll", ["P2"]), ("pont", []), ("*pont*", ["P1"]), ("dupont%20anne", [])):
        check(values(ask(n, f"/studies?fuzzymatching=true&PatientName={name}", a)[0], "00100020") == want, name)
    check(ask(n, "/studies?fuzzymatching=false&PatientName=jean%20dupont", a)[0] == [])
    check(len(ask(n, "/series?fuzzymatching=true&PatientName=anne%20m", a)[0]) == 1)
    check(len(ask(n, "/instances?fuzzymatching=true&PatientName=anne%20m&limit=1&offset=1", a)[0]) == 1)


def test_bad_queries_are_named(t):
    n, first, _ = loaded(t)
    a = token(n)
    for query in ("PatientNme=X", "0010002=X", "limit=x", "limit=-1", "fuzzymatching=maybe", "includefield=Nonsense", "Rows=x",
                  "PatientID.Rows=1", "00400275.Nonsense=1"):
        body, _ = ask(n, "/studies?" + query, a, ok=400)
        check(query.split("=")[0] in body["message"], query, body)
    ask(n, "/studies/..%2f..%2fetc/series", a, ok=404)
    for path in ("/studies/%00/series", "/studies/a%20b/series", "/studies?PatientName=%ff"):
        ask(n, path, a, ok=400)
    rows, head = ask(n, "/studies?00400275.00400009=X", a)
    check(head["Warning"].startswith("299 "), "a key that was not looked at is told")
    text = urllib.request.urlopen(urllib.request.Request(n.http + "/dicomweb/studies?PatientID=P3", headers={"Authorization": f"Bearer {a}"})).read()
    check(json.loads(text)[0]["00100010"]["Value"][0]["Alphabetic"] == "<script>alert(1)</script>")


def test_what_is_rejected_is_gone_on_every_surface_until_it_is_restored(t):
    n, first, second = loaded(t)
    a, admin, other = token(n), token(n, "PURPAN", "administrator"), token(n, "RANGUEIL", "administrator")
    study, series = first.StudyInstanceUID, first.SeriesInstanceUID
    uid = values(ask(n, f"/studies/{study}/instances?limit=1", a)[0], "00080018")[0]
    one = f"/studies/{study}/series/{series}/instances/{uid}"

    def found(images):
        row = ask(n, "/studies?PatientID=P1", a)[0]
        check(values(row, "00201208") == ([images] if images else []), row)
        check(len(ask(n, f"/studies/{study}/instances", a)[0]) == images)
        check(len(ask(n, f"/studies/{study}/series", a)[0]) == (1 if images else 0))
        ids = n.find(f"StudyInstanceUID={study}", "NumberOfStudyRelatedInstances")
        check([int(d.NumberOfStudyRelatedInstances) for d in ids] == ([images] if images else []), ids)
        time.sleep(1.1)  # what is read may be a second old
        if images:
            check(len(ask(n, f"/studies/{study}/metadata", a)[0]) == images)
        else:
            ask(n, f"/studies/{study}/metadata", a, ok=404)

    ask(n, one + "?reason=113001", ok=401, method="DELETE")
    ask(n, one + "?reason=113001", a, ok=403, method="DELETE")
    ask(n, one + "?reason=113001", other, ok=404, method="DELETE", root="/t/PURPAN/dicomweb")
    check("reason" in ask(n, one, admin, ok=400, method="DELETE")[0]["message"])
    ask(n, one + "/reject/999", admin, ok=400, method="POST")
    ask(n, f"/studies/{study}/restore", admin, ok=404, method="POST")
    check(ask(n, one + "?reason=wrong%20patient", admin, method="DELETE")[0] == {"count": 1})
    found(2)
    ask(n, one + "?reason=again", admin, ok=404, method="DELETE")
    ask(n, one, a, ok=404)
    check(ask(n, f"/studies/{study}/reject/113001%5EDCM", admin, method="POST")[0] == {"count": 2})
    found(0)
    check(len(ask(n, "/studies", a)[0]) == 2 and len(ask(n, "/studies", token(n, "RANGUEIL"))[0]) == 1, "others are as before")
    n.dcmtk("storescu", *sorted((t.tmp / "a").iterdir()))
    found(0)
    n.cli("reindex")
    found(0)
    line = json.loads(next((pathlib.Path(n.data) / "archive/PURPAN").rglob("*.rejected.jsonl")).read_text().splitlines()[0])
    check(line["what"] == "reject" and line["reason"] == "wrong patient" and line["sops"] == [uid] and line["who"].startswith("token "), line)
    check(ask(n, one + "/restore", admin, method="POST")[0] == {"count": 1})
    found(1)
    check(ask(n, f"/studies/{study}/series/{series}/restore", admin, method="POST")[0] == {"count": 2})
    found(3)


def test_answers_come_in_xml_too(t):
    import email.parser
    import xml.etree.ElementTree as ET
    n, first, _ = loaded(t)
    a = token(n)
    wanted = 'multipart/related; type="application/dicom+xml"'
    for query, headers in (("", {"Accept": wanted}), ("&accept=" + urllib.parse.quote(wanted), {"Accept": "*/*"})):
        text, head = ask(n, "/studies?AccessionNumber=A1%5CA3" + query, a, headers=headers)
        check(head["Content-Type"].startswith(wanted), head["Content-Type"])
        parts = email.parser.Parser().parsestr(f"Content-Type: {head['Content-Type']}\r\n\r\n{text}").get_payload()
        check([p.get_content_type() for p in parts] == ["application/dicom+xml"] * 2)
        rows = [ET.fromstring(p.get_payload().strip().encode()) for p in parts]
        name = lambda r: "".join(r.find(".//{*}DicomAttribute[@keyword='PatientName']").itertext()).strip()
        check(["".join(name(r).split()) for r in rows] == ["<script>alert(1)</script>", "DUPONTJEAN"], [name(r) for r in rows])
    ask(n, "/studies?PatientID=NONE", a, headers={"Accept": wanted}, ok=204)
    check("dicom+json" in ask(n, "/studies", a, headers={"Accept": "text/html"}, ok=406)[0]["message"])
    for accept, got in (("application/json", "application/json"), ("application/dicom+json;q=0.5, application/json;q=0.1", "application/dicom+json"),
                        ("*/*", "application/dicom+json"), ("multipart/related; type=application/dicom+xml, application/dicom+json;q=0.9", "multipart/related")):
        check(ask(n, "/series", a, headers={"Accept": accept})[1]["Content-Type"].startswith(got), accept)


def test_hostile_queries_are_answered_and_forgotten(t):
    n, first, _ = loaded(t)
    a = token(n)
    x = "x" * 3000
    for query, ok in ((f"PatientName={x}", 200), (f"PatientName={'*?' * 1000}", 200), (f"{x}=1", 400), ("PatientName=%00", 400), ("PatientName=%ff%fe", 400),
                      ("PatientName=%c0%80", 400), ("PatientName=%5C" * 1, 200), ("&".join(["PatientID=1"] * 100), 200),
                      ("StudyInstanceUID=" + ",".join(["1.2.3"] * 1000), 200), (".".join(["00400275"] * 80) + "=1", 400), ("StudyDate=99999999-", 200),
                      ("StudyDate=20261301", 200), ("PatientID=';DROP%20TABLE%20study;--", 200), ("PatientName=%25%5f%5b%5d", 200),
                      ("limit=18446744073709551615&offset=18446744073709551615", 200), ("offset=9223372036854775807", 200), ("RequestAttributesSequence=1", 400),
                      ("includefield=" + ",".join(["KVP"] * 600), 413)):
        body, _ = ask(n, "/studies?" + query, a, ok=ok)
        check(ok != 200 or isinstance(body, list), query[:80])
    try:  # more parameters than a connection has memory for: refused, or hung up on, by the HTTP library
        ask(n, "/studies?" + "&".join(["PatientID=1"] * 600), a, ok=414)
    except OSError:
        pass
    check(len(ask(n, "/studies", a)[0]) == 3, "nothing has changed")
    check(n.rss_kb() < 200000, n.rss_kb())


def test_other_sites_pages_are_kept_out_unless_configured(t):
    (t.tmp / "cors.yaml").write_text("http:\n  cors: https://viewer.example\n")
    n, _, _ = loaded(t, "--config", str(t.tmp / "cors.yaml"))
    a = token(n)
    for origin, allowed in (("https://viewer.example", True), ("https://evil.example", False)):
        _, head = ask(n, "/studies", a, headers={"Origin": origin})
        check((head.get("Access-Control-Allow-Origin") == origin) == allowed, origin, dict(head))
        _, head = ask(n, "/studies", method="OPTIONS", ok=204, headers={"Origin": origin, "Access-Control-Request-Method": "GET"})
        check(("Authorization" in (head.get("Access-Control-Allow-Headers") or "")) == allowed, origin, dict(head))


def test_the_same_answers_as_orthanc(t):
    """The attributes that both give agree."""
    n, first, second = loaded(t)
    a = token(n)
    o = t.orthanc(Plugins=["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"])
    sh("storescu", "-aec", "ORTHANC", "127.0.0.1", o.dicom, *sorted((t.tmp / "a").iterdir()), *sorted((t.tmp / "b").iterdir()), t.tmp / "c.dcm")
    skip = {"00081190", "00080005", "00080056", "00080054"}
    for path in ("/studies?PatientName=DUPONT*", "/studies?ModalitiesInStudy=MR", f"/studies/{first.StudyInstanceUID}/series",
                 f"/studies/{second.StudyInstanceUID}/instances"):
        ours, theirs = ask(n, path, a)[0], http_json(o.http + "/dicom-web" + path)
        key = lambda r: json.dumps(r.get("00080018") or r.get("0020000E") or r["0020000D"])
        check(len(ours) == len(theirs), path)
        for x, y in zip(sorted(ours, key=key), sorted(theirs, key=key)):
            for tag in set(x) & set(y) - skip:
                check(x[tag] == y[tag], path, tag, x[tag], y[tag])


run(globals())

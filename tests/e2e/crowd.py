#!/usr/bin/env python3
"""Many at once, and slow ones among them: nobody waits for somebody else."""
import resource
import select

from lib import *


def rates(port, request, clients, seconds=2.0):
    """Answers a second over that many connections, each asking again as soon as it is answered; the longest wait."""
    poll, state, done, worst = select.epoll(), {}, 0, 0.0
    for _ in range(clients):
        s = socket.create_connection(("127.0.0.1", port), 20)
        s.setblocking(False)
        poll.register(s, select.EPOLLIN)
        state[s.fileno()] = [s, b"", 0.0]
    t0 = time.monotonic()
    for x in state.values():
        x[0].send(request)
        x[2] = time.monotonic()
    while time.monotonic() - t0 < seconds:
        for fd, _ in poll.poll(0.1):
            s, got, asked = state[fd]
            data = s.recv(65536)
            check(data, "hung up on")
            got += data
            head, _, body = got.partition(b"\r\n\r\n")
            n = [int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")]
            if n and len(body) >= n[0]:
                check(head.startswith(b"HTTP/1.1 200"), head[:80])
                done, worst, got = done + 1, max(worst, time.monotonic() - asked), b""
                s.send(request)
                state[fd][2] = time.monotonic()
            state[fd][1] = got
    late = max(time.monotonic() - x[2] for x in state.values())
    for x in state.values():
        x[0].close()
    return done / (time.monotonic() - t0), max(worst, late)


def get(path, token=None):
    auth = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{auth}\r\n".encode()


def port_of(n):
    return int(n.addr["http"].rsplit(":", 1)[1])


def test_no_number_of_connections_stalls(t):
    """libmicrohttpd's own epoll mode answers 1.66 requests a second at 128 of them."""
    n = t.node()
    make_image(t.tmp / "a.dcm")
    n.dcmtk("storescu", t.tmp / "a.dcm")
    a = token(n)
    for clients in (127, 128, 129, 256, 512):
        for path in ("/healthz", "/dicomweb/studies"):
            rate, worst = rates(port_of(n), get(path, a), clients, 1.0)
            check(rate > 300 and worst < 5, clients, path, f"{rate:.0f}/s, longest wait {worst:.2f} s")


def test_five_thousand_connections(t):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 12000:
        raise Skip(f"only {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (12000, hard))
    n = t.node()
    rate, worst = rates(port_of(n), get("/healthz"), 5000, 4.0)
    check(rate > 1000 and worst < 8, f"{rate:.0f}/s, longest wait {worst:.2f} s")
    check(SANITIZED or n.rss_kb() < 300_000, n.rss_kb())


def test_slow_readers_and_writers_do_not_starve_others(t):
    n = t.node()
    _, files = make_series(t.tmp / "a", 200, rows=16, cols=16)
    n.dcmtk("storescu", *files)
    a = token(n)
    slow = []
    for i in range(64):  # heads that never end, bodies that never come, answers that nobody reads
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        s.connect(("127.0.0.1", port_of(n)))
        s.sendall((b"GET /healthz HT", get("/dicomweb/instances?includefield=all", a),
                   get("/dicomweb/studies", a)[:-2] + b"Content-Length: 100000\r\n\r\nx")[i % 3])
        slow.append(s)
    time.sleep(0.5)
    rate, worst = rates(port_of(n), get("/dicomweb/studies", a), 8, 2.0)
    check(rate > 100 and worst < 3, f"{rate:.0f}/s, longest wait {worst:.2f} s")
    for s in slow:
        s.close()
    rate, worst = rates(port_of(n), get("/dicomweb/studies", a), 8, 1.0)
    check(rate > 100 and worst < 3, "after they left", f"{rate:.0f}/s")


run(globals())

#!/usr/bin/env python3
"""The shaped line of the tests keeps its promises: rate, delay, cut."""
import socket
import threading
import time

from lib import *
from link import Link


def serve(answer):
    """A server that answers each connection's first byte; its port."""
    s = socket.create_server(("127.0.0.1", 0))

    def run():
        while True:
            c, _ = s.accept()
            threading.Thread(target=lambda: (c.recv(1), c.sendall(answer), c.close()), daemon=True).start()
    threading.Thread(target=run, daemon=True).start()
    return s.getsockname()[1]


def fetch(port):
    """(seconds to the first byte, seconds to the last, bytes)."""
    t0 = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 20) as c:
        c.sendall(b"?")
        n, first = 0, None
        while data := c.recv(65536):
            first = first or time.monotonic() - t0
            n += len(data)
    return first, time.monotonic() - t0, n


def test_the_first_byte_takes_two_round_trips(t):
    with Link(serve(b"x"), delay=0.04) as link:
        first, _, n = fetch(link.port)
    check(n == 1 and 0.16 <= first < 0.4, first)


def test_the_rate_is_kept_and_shared(t):
    with Link(serve(b"x" * 1_000_000), rate=2_000_000) as link:
        _, alone, n = fetch(link.port)
        check(n == 1_000_000 and 0.45 <= alone < 0.8, alone)
        t0 = time.monotonic()
        threads = [threading.Thread(target=fetch, args=(link.port,)) for _ in range(2)]
        [x.start() for x in threads]
        [x.join() for x in threads]
        check(0.95 <= time.monotonic() - t0 < 1.5, "two side by side", time.monotonic() - t0)


def test_a_cut_breaks_and_refuses_until_mended(t):
    with Link(serve(b"x" * 1_000_000), rate=1_000_000) as link:
        threading.Timer(0.3, link.cut).start()
        try:
            _, _, n = fetch(link.port)
        except OSError:
            n = 0
        check(n < 1_000_000, "cut in the middle")
        try:
            _, _, n = fetch(link.port)
        except OSError:
            n = 0
        check(n == 0, "refused while cut")
        link.mend()
        check(fetch(link.port)[2] == 1_000_000)


run(globals())

#!/usr/bin/env python3
"""A narrow, long, breakable line in user space: TCP forwarded at a rate, after a delay, and cut on demand.

(The kernels that tests run on have tbf but no netem.)  All connections of a Link share the rate of each direction, as they
share a hospital's line.  As a program: link.py TARGET_PORT MBIT RTT_MS prints its port and runs until its input ends.
"""
import asyncio
import sys
import threading
import time

PIECE = 16 << 10  # at 20 Mb/s: 6.5 ms of the line; smaller pieces cost more processor than they add truth
AHEAD = 256 << 10  # bytes under way at most; then the sender waits, as a TCP window makes it


class Direction:
    """One half of the line: bytes leave one after the other, at most rate of them a second."""

    def __init__(self, rate):
        self.rate, self.free_at, self.bytes = rate, 0.0, 0

    def leaves(self, n):
        """When the last of n more bytes is on the line."""
        self.free_at = max(self.free_at, time.monotonic()) + (n / self.rate if self.rate else 0)
        self.bytes += n
        return self.free_at


class Link:
    """rate in bytes a second (0: unlimited), delay in seconds each way.  Use as a context, or start() and stop()."""

    def __init__(self, target, rate=0, delay=0.0, host="127.0.0.1"):
        self.target, self.host, self.delay = target, host, delay
        self.up, self.down = Direction(rate), Direction(rate)
        self.is_cut, self.writers, self.port = False, set(), None
        self.loop = asyncio.new_event_loop()

    def start(self):
        ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait()
        return self

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    __enter__ = start

    def __exit__(self, *_):
        self.stop()

    kill = stop  # as the other things that a test starts

    def cut(self):
        """Break all connections; new ones are refused until mend()."""
        self.is_cut = True
        self.loop.call_soon_threadsafe(lambda: [w.transport.abort() for w in list(self.writers)])

    def mend(self):
        self.is_cut = False

    def _run(self, ready):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self._accept, self.host, 0, limit=PIECE))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self.loop.run_forever()
        server.close()
        for w in list(self.writers):
            w.transport.abort()
        tasks = asyncio.all_tasks(self.loop)
        for t in tasks:
            t.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    async def _accept(self, reader, writer):
        if self.is_cut:
            writer.transport.abort()
            return
        self.writers.add(writer)
        far = None
        try:
            await asyncio.sleep(2 * self.delay)  # SYN and its answer
            far_reader, far = await asyncio.open_connection(self.host, self.target, limit=PIECE)
            self.writers.add(far)
            await asyncio.gather(self._pump(reader, far, self.up), self._pump(far_reader, writer, self.down))
        except OSError:
            pass
        finally:
            for w in (writer, far):
                if w is not None:
                    self.writers.discard(w)
                    w.close()

    async def _pump(self, reader, writer, direction):
        """Read, put on the line, deliver `delay` later; the window bounds what is under way."""
        queue = asyncio.Queue(AHEAD // PIECE)
        delivery = asyncio.create_task(self._deliver(queue, writer))
        try:
            while data := await reader.read(PIECE):
                at = direction.leaves(len(data))
                await asyncio.sleep(at - time.monotonic())
                await queue.put((at + self.delay, data))
        except OSError:
            writer.transport.abort()
        await queue.put((0, b""))
        await delivery

    async def _deliver(self, queue, writer):
        while True:
            at, data = await queue.get()
            if not data:
                break
            await asyncio.sleep(at - time.monotonic())
            if not writer.is_closing():
                writer.write(data)
                try:
                    await writer.drain()
                except OSError:
                    writer.transport.abort()
        if writer.can_write_eof() and not writer.is_closing():
            try:
                writer.write_eof()
            except OSError:
                pass


def main():
    target, mbit, rtt = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    with Link(target, mbit * 1e6 / 8, rtt / 2000) as link:
        print(link.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()

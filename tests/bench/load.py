"""A load generator: many connections from a few processes, as much as loopback carries.

Each connection asks for its paths in turn, one request at a time. The bytes of bodies go into one buffer and are only
counted; heads are parsed just enough to know where an answer ends.
"""
import multiprocessing
import re
import selectors
import socket
import time
from typing import List, NamedTuple, Sequence

BUFFER_BYTES = 1 << 20
HEAD = re.compile(rb"HTTP/1\.[01] 200 .*?\r\n\r\n", re.DOTALL)
LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n", re.IGNORECASE)
GIVE_UP_SECONDS = 120
# Docker's registry gives an OCI manifest only to a client that names the type.
ACCEPT = "application/vnd.oci.image.manifest.v1+json, */*"


class Outcome(NamedTuple):
    """What the clients saw."""
    seconds: float
    requests: int
    body_bytes: int  # also of requests that the end of the time cut off
    latencies: List[float]  # seconds, sorted: one for each answer, or for each client where it has an end
    errors: int

    def percentile(self, share: float) -> float:
        """Seconds; 0 where no answer was whole in time."""
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * share))] if self.latencies else 0.0


class Job(NamedTuple):
    """What one process does."""
    port: int
    connections: int
    paths: Sequence[str]  # asked for in turn
    seconds: float  # 0: until each client has asked for every path once
    new_connection: bool  # for each request


def run(job: Job, processes: int) -> Outcome:
    """The job's connections, shared out to processes -> what they saw together."""
    shares = [job.connections // processes + (number < job.connections % processes) for number in range(processes)]
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        outcomes = pool.map(work, [job._replace(connections=share) for share in shares], chunksize=1)
    latencies = sorted(latency for outcome in outcomes for latency in outcome.latencies)
    return Outcome(max(outcome.seconds for outcome in outcomes), sum(outcome.requests for outcome in outcomes),
                   sum(outcome.body_bytes for outcome in outcomes), latencies,
                   sum(outcome.errors for outcome in outcomes))


def work(job: Job) -> Outcome:
    """One process's share."""
    worker = Worker(job)
    started = now = time.monotonic()
    end = started + (job.seconds or GIVE_UP_SECONDS)
    for _ in range(job.connections):
        Client(worker)
    while worker.selector.get_map() and now < end:
        for key, _ in worker.selector.select(end - now):
            key.data.receive()
        now = time.monotonic()
    if not job.seconds:
        worker.errors += len(worker.selector.get_map())
    return Outcome(now - started, worker.requests, worker.body_bytes, worker.latencies, worker.errors)


class Worker:
    """What the clients of one process have in common."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.selector = selectors.DefaultSelector()
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        kept = "close" if job.new_connection else "keep-alive"
        self.requests_bytes = [(
            "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: bench/1\r\nAccept: %s\r\nConnection: %s\r\n\r\n"
            % (path, job.port, ACCEPT, kept)).encode() for path in job.paths]
        self.requests = self.body_bytes = self.errors = 0
        self.latencies: List[float] = []


class Client:
    """One connection after the other, one request at a time."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.asked = 0
        self.started = time.monotonic()
        self.connect()

    def connect(self) -> None:
        self.asked_at = time.monotonic()
        self.connection = socket.create_connection(("127.0.0.1", self.worker.job.port))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.worker.selector.register(self.connection, selectors.EVENT_READ, self)
        self.ask()

    def ask(self) -> None:
        requests = self.worker.requests_bytes
        self.head, self.missing = b"", -1  # of the body; -1: the head is not whole yet
        self.connection.sendall(requests[self.asked % len(requests)])
        self.asked += 1

    def receive(self) -> None:
        """Take what is there, and ask on when the answer is whole."""
        worker = self.worker
        try:
            count = self.connection.recv_into(worker.buffer)
        except OSError:
            count = 0
        if not count:
            self.fail()
        elif self.missing >= 0:
            self.take(count)
        else:
            self.head += worker.buffer[:count]
            match = HEAD.match(self.head)
            if match:
                self.missing = int(LENGTH.search(match.group()).group(1))
                self.take(len(self.head) - match.end())
            elif b"\r\n\r\n" in self.head:
                self.fail()

    def take(self, count: int) -> None:
        """`count` bytes more of the body."""
        worker = self.worker
        worker.body_bytes += count
        self.missing -= count
        if self.missing > 0:
            return
        now = time.monotonic()
        worker.requests += 1
        if not worker.job.seconds:
            if self.asked == len(worker.requests_bytes):
                worker.latencies.append(now - self.started)
                self.disconnect()
                return
        else:
            worker.latencies.append(now - self.asked_at)
        if worker.job.new_connection:
            self.disconnect()
            self.connect()
        else:
            self.asked_at = now
            self.ask()

    def disconnect(self) -> None:
        self.worker.selector.unregister(self.connection)
        self.connection.close()

    def fail(self) -> None:
        """An answer that is none, or its end too early."""
        self.worker.errors += 1
        self.disconnect()
        if self.worker.job.seconds:
            self.connect()

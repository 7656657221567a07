"""The longer cases: what goes wrong only with many clients, after some time, or at a limit.

They take about a minute with a good server, and the first kit a second, so a session does not
wait for them; `c10k check NAME --full` runs both. Whatever depends on time is called unclean
at worst, and its bounds are generous: a busy machine must not make a good server fail.
"""

import contextlib
import os
import resource
import select
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path

import psutil

from .. import launch
from . import peek
from .cases import CASES, KIB, MIB, Case, stall
from .client import Client, CutOff, Failed, Finding, Informational, Subject, Unclean, exchange, fill

LONG_IDLE_S = 30.0
ACTIVE, ROUNDS, TRIES = 99, 20, 3
HARM, HARM_S = 5, 0.050  # p99 of the other clients: times the undisturbed one; at least, in s
ANSWER_S = 3.0  # without an echo, before one of the others counts as starved
LORIS, LORIS_S = 200, 2.0  # fewer than the smallest thread pool of our servers
CHURNED, AT_ONCE = 10_000, 100
LEAK_BYTES = 8 * MIB
QUEUE, OVERFLOW = launch.BACKLOG, 200  # clients that the accept queue holds, and more
RETRY_S = 10.0  # the kernel tries again 1, 3 and 7 s after the first time
SPARE, STARVED = 16, 40  # descriptors that are left, clients that need one
WATCHED_S, BUSY = 1.5, 0.5  # without descriptors: how long, and the most CPU in cores
THREADS_BYTES = 64 * MIB  # address space left: stacks for eight threads
RECOVER_S = 2.0  # as the contract allows after SIGTERM
ONE_BY_ONE = "the kit's clients make their handshakes one by one"
READ_BYTES, READ_MOST_BYTES = 64 * KIB, 256 * KIB  # by the contract; the most of any event loop


def _idle_long(subject: Subject) -> None:
    clients = [subject.connect(f"a client that idled {LONG_IDLE_S:.0f} s ({i})") for i in (1, 2)]
    subject.echo(clients)
    time.sleep(LONG_IDLE_S)
    for size in (100, 10, 1000):
        subject.echo(clients, size)


def _stalled_reader(subject: Subject) -> None:
    active = [subject.connect(f"active client {i} of {ACTIVE}") for i in range(1, ACTIVE + 1)]
    subject.echo(active, 64)
    quiet_s = _p99_s(subject, active)
    stall(subject, subject.connect("a client that does not read"))
    bound_s = max(HARM_S, HARM * quiet_s)
    beside_s = min(_until(lambda p99_s: p99_s <= bound_s, lambda: _p99_s(subject, active)))
    if beside_s > bound_s:
        raise Unclean(
            f"beside one client that does not read, the p99 of {ACTIVE} others rose from "
            f"{quiet_s * 1000:.1f} to {beside_s * 1000:.1f} ms"
        )


def _until(good: Callable[[float], bool], measure: Callable[[], float]) -> Iterator[float]:
    """Measures until it is good, at most TRIES times, as the machine may be busy for a moment."""
    for _ in range(TRIES):
        found = measure()
        yield found
        if good(found):
            return


def _p99_s(subject: Subject, clients: Sequence[Client]) -> float:
    """The 99th percentile, in s, of round trips that all clients make at the same time."""
    waits_s: list[float] = []
    for _ in range(ROUNDS):
        poller = select.poll()
        sent: dict[int, tuple[Client, float]] = {}
        for client in clients:
            client.say(subject.data(64))
            client.send()
            sent[client.sock.fileno()] = (client, time.perf_counter())
            poller.register(client.sock, select.POLLIN)
        while sent:
            events = poller.poll(ANSWER_S * 1000)
            if not events:
                raise Failed(
                    f"{len(sent)} of {len(clients)} active clients got no echo for "
                    f"{ANSWER_S:.0f} s beside one that does not read"
                )
            for descriptor, _event in events:
                client, since_s = sent[descriptor]
                client.receive()
                if not client.owed:
                    waits_s.append(time.perf_counter() - since_s)
                    poller.unregister(descriptor)
                    del sent[descriptor]
    return sorted(waits_s)[len(waits_s) * 99 // 100]


def _slow_loris(subject: Subject) -> None:
    slow = [subject.connect(f"a client that sends a byte now and then ({i})") for i in range(LORIS)]
    until = time.monotonic() + LORIS_S
    while time.monotonic() < until:
        for client in slow:
            client.say(subject.data(1))
            client.send()
        subject.echo([subject.connect("a client beside slow ones")])
        time.sleep(0.1)
    exchange(*slow)


def _churn(subject: Subject) -> None:
    def come_and_go(many: int) -> None:
        for _ in range(many // AT_ONCE):
            subject.echo([subject.connect() for _ in range(AT_ONCE)], 10)
            subject.hang_up()

    come_and_go(CHURNED // 10)  # so that what the server makes once is there
    before = _held(subject)
    most = {
        "descriptors": before["descriptors"] + AT_ONCE,  # a pool may grow to those at once
        "threads": before["threads"] + AT_ONCE,
        "bytes of memory": before["bytes of memory"] + LEAK_BYTES,
    }
    come_and_go(CHURNED)
    deadline = time.monotonic() + RECOVER_S
    while grown := {what: n for what, n in _held(subject).items() if n > most[what]}:
        if time.monotonic() > deadline:
            said = ", ".join(
                f"{n:,} {what} (before: {before[what]:,})" for what, n in grown.items()
            )
            raise Failed(f"when {CHURNED:,} clients had come and gone it held {said}")
        time.sleep(0.1)


def _held(subject: Subject) -> dict[str, int]:
    """What the server's processes hold."""
    return {
        "descriptors": subject.together(psutil.Process.num_fds),
        "threads": subject.together(psutil.Process.num_threads),
        "bytes of memory": subject.memory_bytes(),
    }


def _overflow(subject: Subject) -> None:
    queue = subject.running.backlog()
    if queue is None:
        raise Informational("not tried: the kernel does not report the accept queue's length")
    limit = min(QUEUE, queue.limit)
    many = limit + OVERFLOW
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors < many + 100:
        raise Informational(f"not tried: {many:,} clients need more than ulimit -n {descriptors}")
    listener = subject.running.listener
    listener.listen(limit)  # on the server's own socket, of which this is a copy
    try:
        with subject.frozen():
            clients = [
                subject.connecting(f"client {i:,} of {many:,} at once") for i in range(1, many + 1)
            ]
        for client in clients:
            client.say(subject.data(10))
        exchange(*clients, patience_s=RETRY_S, leaving=True)
    finally:
        listener.listen(queue.limit)


def _out_of_descriptors(subject: Subject) -> None:
    known = _there_before(subject)
    log = subject.running.log
    with _limited(subject, "NOFILE", SPARE) as process:
        starved = _latecomers(subject, "a client without a descriptor")
        said_bytes, used_s = log.stat().st_size, sum(process.cpu_times()[:2])
        until = time.monotonic() + WATCHED_S
        while time.monotonic() < until:
            subject.echo(known)
            time.sleep(0.05)
        busy = (sum(process.cpu_times()[:2]) - used_s) / WATCHED_S
        said_bytes = log.stat().st_size - said_bytes
    began = time.monotonic()
    subject.echo([subject.connect("a client that came when there was room again")])
    for client in starved:
        with contextlib.suppress(CutOff):  # it was turned away meanwhile, which is allowed
            exchange(client)
    recovered_s = time.monotonic() - began
    unclean = {
        f"kept {busy:.0%} of a core busy": busy > BUSY,
        f"logged {said_bytes / KIB:,.0f} KiB": said_bytes > launch.LOG_BYTES,
        f"took {recovered_s:.1f} s to serve again": recovered_s > RECOVER_S,
    }
    if any(unclean.values()):
        seen = ", ".join(words for words, applies in unclean.items() if applies)
        raise Unclean(f"out of descriptors for {WATCHED_S:.1f} s, it {seen}")


def _out_of_threads(subject: Subject) -> None:
    known = _there_before(subject)
    # A limit on threads does not apply to root, but every thread needs address space for its stack.
    with _limited(subject, "AS", THREADS_BYTES):
        late = _latecomers(subject, "a client without a thread")
        time.sleep(0.2)
        subject.echo(known)
    for client in late:
        client.sock.close()
    subject.echo([subject.connect("a client that came when there was room again")])


def _there_before(subject: Subject) -> list[Client]:
    known = [subject.connect(f"a client that was there before ({i})") for i in range(1, 6)]
    subject.echo(known)
    return known


def _latecomers(subject: Subject, name: str) -> list[Client]:
    """Clients that come and send something while the server has no room for all of them."""
    clients = [subject.connect(f"{name} ({i})") for i in range(1, STARVED + 1)]
    for client in clients:
        client.say(subject.data(10))
        with contextlib.suppress(CutOff):
            client.send()
    return clients


def _room_for_descriptors(process: psutil.Process, room: int) -> int:
    """The limit that leaves so many descriptors: a new one takes the lowest free number."""
    taken = {int(each.name) for each in Path(f"/proc/{process.pid}/fd").iterdir()}
    return next(islice((number for number in count() if number not in taken), room, None))


def _room_for_stacks(process: psutil.Process, room: int) -> int:
    return int(process.memory_info().vms) + room


_ROOM = {"NOFILE": _room_for_descriptors, "AS": _room_for_stacks}


@contextlib.contextmanager
def _limited(subject: Subject, what: str, room: int) -> Iterator[psutil.Process]:
    """Limits the server's process to what it has and so much more, during the with block."""
    if not hasattr(resource, "prlimit"):
        raise Informational("not tried: only Linux can limit another process")
    process, *_ = subject.processes()
    number = getattr(resource, f"RLIMIT_{what}")
    before = resource.prlimit(process.pid, number)
    resource.prlimit(process.pid, number, (_ROOM[what](process, room), before[1]))
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(process.pid, number, before)


def _sigterm_in_echo(subject: Subject) -> None:
    client = subject.connect("a client in the middle of its echo")
    stall(subject, client)
    deadline = time.monotonic() + launch.STOP_S
    os.kill(subject.running.pid, signal.SIGTERM)
    with contextlib.suppress(CutOff):  # allowed, but wrong bytes are not
        while client.owed and time.monotonic() < deadline:
            if not client.receive():
                time.sleep(0.005)
    gone = subject.why_gone(wait_s=max(0.0, deadline - time.monotonic()))
    subject.stop()
    if not gone:
        raise Failed(f"during an echo it was still there {launch.STOP_S:.0f} s after SIGTERM")


def _over(words: str, bind: str) -> Callable[[Subject], None]:
    """Two cases of the first kit on a listening socket of another family."""

    def run(subject: Subject) -> None:
        with tempfile.TemporaryDirectory(prefix="c10k-") as folder:
            try:
                launch.listen(bind.format(f"{folder}/probe")).close()
            except OSError as error:
                raise Informational(f"not tried: no {words} on this machine: {error}") from None
            other = subject.elsewhere(bind.format(f"{folder}/socket"))
            with contextlib.closing(other):
                try:
                    for case in CASES:
                        tried = case.name in ("echo-64-kib", "half-close")
                        if tried and not case.why_not(subject.server):
                            case.run(other)
                except (Failed, launch.NotServing) as error:
                    raise Failed(f"over {words}: {error}") from None

    return run


# By Linux's numbers, as Python does not have names for all, and how a difference counts.
_SOCKET, _IP, _TCP = 1, 0, 6
OPTIONS: dict[str, tuple[int, int, type[Finding]]] = {
    "TCP_NODELAY": (_TCP, 1, Unclean),
    "TCP_CORK": (_TCP, 3, Unclean),
    "SO_KEEPALIVE": (_SOCKET, 9, Unclean),
    "SO_LINGER": (_SOCKET, 13, Unclean),
    "SO_PRIORITY": (_SOCKET, 12, Unclean),
    "SO_BUSY_POLL": (_SOCKET, 46, Unclean),
    "SO_BUF_LOCK": (_SOCKET, 72, Unclean),  # 1, 2: the send, receive buffer was set by hand
    "IP_TOS": (_IP, 1, Unclean),
    # trio sets it on every socket, so it is the choice of the framework and not of the server
    "TCP_NOTSENT_LOWAT": (_TCP, 25, Informational),
}


def _socket_options(subject: Subject) -> None:
    client = subject.connect()
    subject.echo([client])
    with contextlib.ExitStack() as stack:
        theirs = stack.enter_context(peek.accepted(subject.processes(), client))
        listener = stack.enter_context(launch.listen())
        stack.enter_context(socket.create_connection(listener.getsockname()))
        ours = stack.enter_context(listener.accept()[0])
        found: dict[type[Finding], list[str]] = {}
        for name, (level, number, kind) in OPTIONS.items():
            with contextlib.suppress(OSError):  # the kernel does not know it
                value, usual = (each.getsockopt(level, number) for each in (theirs, ours))
                if value != usual:
                    found.setdefault(kind, []).append(f"{name} is {value}, not {usual}")
    for kind in (Unclean, Informational):
        if kind in found:
            raise kind(f"of accepted sockets {', '.join(found[kind])}")


def _read_size(subject: Subject) -> None:
    """How much the server reads from a full queue while it cannot send.

    Both are arranged on one connection. The server's receive buffer is made large, and filled
    while the server is stopped; its send buffer and the client's receive buffer are made small.
    It then reads once or, where it has a buffer of its own, until that is full.
    """
    client = subject.connecting("a client with much to say", receive_bytes=4096)
    subject.echo([client], 1)
    with peek.accepted(subject.processes(), client) as theirs:
        before = peek.read_bytes(theirs)
        with subject.frozen():
            _set_queues(theirs, receive_bytes=8 * MIB, send_bytes=4096)
            client.say(subject.data(2 * MIB))
            fill(client)
            queued = peek.queued_bytes(theirs)
        client.give_up()
        took = _settled(lambda: peek.read_bytes(theirs) - before)
    if queued <= READ_BYTES:
        raise Informational(f"not tried: only {queued:,} bytes could be queued for one read")
    if took > READ_MOST_BYTES:
        raise Unclean(f"it takes {took:,} bytes of one client at a time, more than any loop does")
    if took != READ_BYTES:
        raise Informational(
            f"it takes {took:,} bytes of one client before it sends; asked for are {READ_BYTES:,}"
        )


def _set_queues(sock: socket.socket, *, receive_bytes: int, send_bytes: int) -> None:
    """Sets the sizes of a socket's buffers, beyond the usual limits where that is possible."""
    force, window_clamp = 33, 10  # SO_RCVBUFFORCE, TCP_WINDOW_CLAMP
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, receive_bytes)
    except PermissionError:  # without the right to: as much as net.core.rmem_max allows
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.setsockopt(socket.IPPROTO_TCP, window_clamp, receive_bytes // 2)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)


def _settled(read: Callable[[], int], calm_s: float = 0.2) -> int:
    """A figure that grows, read once it has not changed for calm_s; after ANSWER_S in any case."""
    current, since = read(), time.monotonic()
    until = since + ANSWER_S
    while time.monotonic() < until and (not current or time.monotonic() < since + calm_s):
        time.sleep(0.01)
        previous, current = current, read()
        if current != previous:
            since = time.monotonic()
    return current


LONG = (
    Case(
        "idle-long", "a client may be silent for half a minute and must still be served", _idle_long
    ),
    Case(
        "stalled-reader",
        "one client that does not read must not make others wait",
        _stalled_reader,
    ),
    Case("slow-loris", "clients that send a byte now and then must not hold the rest", _slow_loris),
    Case("churn", "what each client leaves behind adds up over days", _churn),
    Case(
        "overflow",
        "when more clients come than can queue, all must be served in the end",
        _overflow,
        ONE_BY_ONE,
    ),
    Case(
        "out-of-descriptors",
        "connected clients must not suffer when there is no room for more",
        _out_of_descriptors,
        ONE_BY_ONE,
    ),
    Case(
        "out-of-threads",
        "a client that gets no thread must not cost the others theirs",
        _out_of_threads,
        ONE_BY_ONE,
    ),
    Case(
        "sigterm-in-echo",
        "a server that ends during an echo must cut it off or finish it",
        _sigterm_in_echo,
    ),
    Case(
        "ipv6", "a server must take the address family that it is given", _over("IPv6", "[::1]:0")
    ),
    Case("unix", "a UNIX socket has no host and no port", _over("a UNIX socket", "unix:{}")),
    Case(
        "socket-options",
        "all servers are measured with the same options on their sockets",
        _socket_options,
    ),
    Case(
        "read-size",
        "a larger read makes larger messages cheaper",
        _read_size,
        "a server reads records there, of at most 16 KiB",
    ),
)

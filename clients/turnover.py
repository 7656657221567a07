"""Storm and churn: the cost of connecting and leaving. Clients of other kinds stay connected.

storm   All clients connect at once. Each sends one message as soon as it can, and stays. The
        latency is from a client's own connect call to its first echo; launched_s is the time
        that this process took to make all the calls.
churn   The plan's number of clients is connected at any time, and `connecting` of them at a
        time are replaced: one ends its stream and waits until the server has closed; then a
        new client connects and sends one message. Each replacement counts as one message.

When the server's full accept queue drops a handshake, the kernel sends it again after 1 s, and
then after one or two more (it depends on the kernel's version). `retried` is the number of
clients that connected (in a churn: within the slice) for which anything was sent again.
"""

import asyncio
import gc
import socket
import struct
from collections import deque
from time import perf_counter_ns as clock

from conversations import Conversation, Meter
from course import Course, slice_at_once
from worker import Worker, describe, finish

GENERATION = 1 << 40  # the distance between the ids of a client and its replacement
PAUSE_S = 0.01  # after a failure to connect, so that failing is not a busy loop
_TOTAL_RETRANS = 100  # offset of tcpi_total_retrans in struct tcp_info (linux/tcp.h)


async def storm(worker: Worker) -> None:
    """All clients at once; ends when all had their first echo, or the time is over."""
    with slice_at_once() as arriving:
        await worker.connect_all(worker.plan.clients)
    worker.report(
        [],
        messages=len(worker.conversations),
        **arriving.figures(),
        clients_without_echo=worker.plan.clients - len(worker.conversations),
        connected=worker.connected,
        served=len(worker.conversations),
        failed=worker.failed,
        connect_s=arriving.duration_ns / 1e9,
        bytes_per_connection=0.0,
        tls=worker.negotiated,
        # 0 if none began to connect, because the server's name has no address
        launched_s=max(worker.connecting_ns - arriving.start_ns, 0) / 1e9,
        retried=sum(map(sent_again, worker.conversations)),
        latency=worker.arrivals.encoded(),
    )


async def churn(worker: Worker) -> None:
    """Clients come and go for the whole slice; replacements begun in it are completed."""
    gc.enable()  # ended connections are garbage, in unlimited number
    plan, arrivals = worker.plan, worker.arrivals
    there = deque(worker.conversations)
    at_a_time = min(plan.connecting, len(there))
    # A new client counts once it is served, not with each echo, so this needs its own meter.
    meter = Meter(arrivals)
    course = Course(plan, worker.orders, meter, lambda: arrivals.ever, lambda: at_a_time)
    going_on, within, retried = True, False, 0
    lost = 0  # clients that were never answered

    async def replace_some() -> None:
        nonlocal lost, retried
        while going_on:
            leaver = there.popleft()
            await part(worker, leaver)
            try:
                comer = await arrive(worker, ident_of(leaver))
            except asyncio.CancelledError:
                lost += 1
                raise
            # A client sends nothing between its echo and its end, so this count is complete.
            retried += within and sent_again(comer)
            there.append(comer)
            meter.heard(clock())

    def start() -> None:
        nonlocal within
        within = True
        arrivals.clear()

    def end() -> None:
        nonlocal within, going_on
        within = going_on = False

    def keep() -> None:
        arrivals.tally()
        worker.meter.latencies.tally()  # of the same echoes, without the connecting

    arrivals.clear()
    course.on_start, course.on_end, course.keep = start, end, keep
    course.begin()
    replacing = [asyncio.create_task(replace_some()) for _ in range(at_a_time)]
    if not await course.over:
        return
    await finish(replacing, plan.drain_s)
    worker.conversations = list(there)
    worker.report(
        [],
        clients_without_echo=lost,
        lost=lost,
        retried=retried,
        latency=arrivals.encoded(),
        **course.figures(),
    )


async def part(worker: Worker, leaver: Conversation) -> None:
    """Ends a client's stream and waits until the server has closed it."""
    if leaver.ended:
        return
    gone = asyncio.get_running_loop().create_future()
    leaver.leave(gone)
    try:
        await gone
    except OSError:
        pass  # already counted
    except asyncio.CancelledError:
        worker.meter.errors["not closed by the server"] += 1
        raise


async def arrive(worker: Worker, ident: int) -> Conversation:
    """A new client in a free place; failures to connect are counted and tried again."""
    while True:
        ident += GENERATION
        try:
            return await worker.connect(ident)
        except OSError as error:
            worker.meter.errors[describe(error)] += 1
            await asyncio.sleep(PAUSE_S)


def ident_of(client: Conversation) -> int:
    """The id that its messages carry."""
    return int.from_bytes(client.prefix[:8], "little")


def sent_again(client: Conversation) -> bool:
    """Whether the kernel had to send anything again for this client; False if unknown."""
    if client.ended or not hasattr(socket, "TCP_INFO"):
        return False
    try:
        with socket.socket(fileno=client.fd) as connection:
            try:
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            finally:
                connection.detach()  # it still belongs to the transport
    except OSError:  # a UNIX socket, or one that has ended
        return False
    return bool(struct.unpack_from("I", info, _TOTAL_RETRANS)[0])

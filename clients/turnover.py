"""Storm and churn: what coming and going costs, where the other kinds stay connected.

storm   All clients connect at once. Each says one message as soon as it can, and stays. The
        latency is from a client's own connect call to its first echo; what this process
        itself took to make all the calls is told as launched_s.
churn   So many clients as the plan says are there at any time, and `connecting` of them at
        a time are replaced: one ends its stream, waits until the server has closed, and a
        new client connects and says one message. Each replacement counts as one message.

A handshake that the server's full accept queue dropped is sent again by the kernel after
1 s, and then (by its version) after one or two more. `retried` says for how many of the
clients that came (of a churn: within the slice) anything was sent again.
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

GENERATION = 1 << 40  # between the ids of a client and of the one that takes its place
PAUSE_S = 0.01  # after a failure to connect, so that failing is no busy loop
_TOTAL_RETRANS = 100  # offset of tcpi_total_retrans in struct tcp_info (linux/tcp.h)


async def storm(worker: Worker) -> None:
    """Everybody at once; ends when all had their first echo, or the time is over."""
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
        # 0 where none began to connect, as the server's name has no address
        launched_s=max(worker.connecting_ns - arriving.start_ns, 0) / 1e9,
        retried=sum(map(sent_again, worker.conversations)),
        latency=worker.arrivals.encoded(),
    )


async def churn(worker: Worker) -> None:
    """Clients come and go for the whole slice; what was begun in it is brought to its end."""
    gc.enable()  # connections that ended are rubbish, and there is no end of them
    plan, arrivals = worker.plan, worker.arrivals
    there = deque(worker.conversations)
    at_a_time = min(plan.connecting, len(there))
    # A newcomer counts when it is there, not with each echo: so a meter of its own.
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
            # Nothing is sent from its echo to its leaving, so this is all there is to count.
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
        pass  # counted where it happened
    except asyncio.CancelledError:
        worker.meter.errors["not closed by the server"] += 1
        raise


async def arrive(worker: Worker, ident: int) -> Conversation:
    """A new client in a place that has become free; what fails is counted and tried again."""
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
    """Whether the kernel had to send anything again for this client; False where it cannot say."""
    if client.ended or not hasattr(socket, "TCP_INFO"):
        return False
    try:
        with socket.socket(fileno=client.fd) as connection:
            try:
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            finally:
                connection.detach()  # it stays the transport's
    except OSError:  # a UNIX socket, or one that has ended
        return False
    return bool(struct.unpack_from("I", info, _TOTAL_RETRANS)[0])

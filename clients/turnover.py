"""Storm and churn: what coming and going costs, where the other kinds stay connected.

storm   All clients connect at once. Each says one message as soon as it can, and stays. The
        latency is from a client's own connect call to its first echo; what this process
        itself took to make all the calls is told as launched_s.
churn   So many clients as the plan says are there at any time, and `connecting` of them at
        a time are replaced: one ends its stream, waits until the server has closed, and a
        new client connects and says one message. Each replacement counts as one message.

A handshake that the server's full accept queue dropped is sent again by the kernel after
1 s, and then (by its version) after one or two more. `retried` says for how many clients
anything was sent again.
"""

import asyncio
import gc
import socket
import struct
import time
from collections import deque
from typing import TYPE_CHECKING

from bins import Bins

if TYPE_CHECKING:
    from conversations import Conversation
    from echo_client import Worker

SAMPLE_S = 0.25
GENERATION = 1 << 40  # between the ids of a client and of the one that takes its place
PAUSE_S = 0.01  # after a failure to connect, so that failing is no busy loop
_TOTAL_RETRANS = 100  # offset of tcpi_total_retrans in struct tcp_info (linux/tcp.h)


async def storm(worker: "Worker") -> None:
    """Everybody at once; ends when all had their first echo, or the time is over."""
    start_ns, start_cpu_ns = time.perf_counter_ns(), time.process_time_ns()
    worker.sample(start_ns, 0)
    arriving = asyncio.create_task(worker.connect_all(worker.plan.clients))
    while not arriving.done():
        await asyncio.wait([arriving], timeout=SAMPLE_S)
        worker.sample(start_ns, len(worker.conversations))
    await arriving
    duration_ns = time.perf_counter_ns() - start_ns
    worker.report(
        len(worker.conversations),
        duration_ns,
        time.process_time_ns() - start_cpu_ns,
        [],
        clients_without_echo=worker.plan.clients - len(worker.conversations),
        connected=worker.connected,
        served=len(worker.conversations),
        failed=worker.failed,
        connect_s=duration_ns / 1e9,
        bytes_per_connection=0.0,
        launched_s=(worker.connecting_ns - start_ns) / 1e9,
        retried=sum(map(sent_again, worker.conversations)),
        latency=worker.arrivals.encoded(),
    )


async def churn(worker: "Worker") -> None:
    """Clients come and go for the whole slice; what was begun in it is brought to its end."""
    gc.enable()  # connections that ended are rubbish, and there is no end of them
    plan, arrivals = worker.plan, worker.arrivals
    there = deque(worker.conversations)
    going_on, retried = True, 0
    lost = 0  # clients that were never answered

    async def replace_some() -> None:
        nonlocal lost, retried
        while going_on:
            leaver = there.popleft()
            retried += sent_again(leaver)
            await part(worker, leaver)
            try:
                there.append(await arrive(worker, ident_of(leaver)))
            except asyncio.CancelledError:
                lost += 1
                raise

    arrivals.clear()
    bins = Bins(plan.bins_ms, lambda: arrivals.ever)
    bins.begin()
    replacing = [
        asyncio.create_task(replace_some()) for _ in range(min(plan.connecting, len(there)))
    ]
    await asyncio.sleep(plan.warmup_s)
    arrivals.clear()
    start_ns, start_cpu_ns = time.perf_counter_ns(), time.process_time_ns()
    await worker.sampled(start_ns, plan.duration_s, arrivals.tally)
    messages = arrivals.tally()
    duration_ns = time.perf_counter_ns() - start_ns
    cpu_ns = time.process_time_ns() - start_cpu_ns
    bins.end()
    going_on = False
    late = (await asyncio.wait(replacing, timeout=plan.drain_s))[1] if replacing else ()
    for each in late:
        each.cancel()
    for outcome in await asyncio.gather(*replacing, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
    worker.conversations = list(there)
    worker.report(
        messages,
        duration_ns,
        cpu_ns,
        [],
        clients_without_echo=lost,
        lost=lost,
        bins=bins.readings,
        slice_start_ns=start_ns - bins.began_ns,
        retried=retried,
        latency=arrivals.encoded(),
    )


async def part(worker: "Worker", leaver: "Conversation") -> None:
    """Ends a client's stream and waits until the server has closed it."""
    if leaver.went_wrong:
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


async def arrive(worker: "Worker", ident: int) -> "Conversation":
    """A new client in a place that has become free; what fails is counted and tried again."""
    while True:
        ident += GENERATION
        try:
            return await worker.connect(ident)
        except OSError as error:
            if error.errno is not None:  # else its connection has counted it
                worker.meter.errors[error.strerror or str(error)] += 1
            await asyncio.sleep(PAUSE_S)


def ident_of(client: "Conversation") -> int:
    """The id that its messages carry."""
    return int.from_bytes(client.prefix[:8], "little")


def sent_again(client: "Conversation") -> bool:
    """Whether the kernel had to send anything again for this client; False where it cannot say."""
    if not hasattr(socket, "TCP_INFO"):
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

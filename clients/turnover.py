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

import gc

from course import Course, slice_at_once
from worker import Worker


async def storm(worker: Worker) -> None:
    """All clients at once; ends when all had their first echo, or the time is over."""
    crowd = worker.crowd
    with slice_at_once() as arriving:
        await crowd.connect_all(worker.plan.clients)
    worker.report(
        [],
        messages=crowd.served,
        **arriving.figures(),
        clients_without_echo=worker.plan.clients - crowd.served,
        connected=crowd.connected,
        served=crowd.served,
        failed=crowd.failed,
        connect_s=arriving.duration_ns / 1e9,
        bytes_per_connection=0.0,
        tls=crowd.negotiated,
        loops=crowd.loops,
        # 0 if none began to connect, because the server's name has no address
        launched_s=max(crowd.connecting_ns - arriving.start_ns, 0) / 1e9,
        retried=crowd.retried(),
        latency=crowd.arrivals.encoded(),
    )


async def churn(worker: Worker) -> None:
    """Clients come and go for the whole slice; replacements begun in it are completed."""
    gc.enable()  # ended connections are garbage, in unlimited number
    plan, crowd = worker.plan, worker.crowd
    arrivals = crowd.arrivals
    at_a_time = min(plan.connecting, crowd.served)
    arrivals.clear()
    turnover = crowd.turnover(at_a_time)
    course = Course(plan, worker.orders, turnover.meter, lambda: arrivals.ever, lambda: at_a_time)

    def start() -> None:
        turnover.within = True
        arrivals.clear()

    def end() -> None:
        turnover.within = False
        turnover.end()

    course.on_start, course.on_end, course.keep = start, end, arrivals.tally
    course.begin()
    turnover.begin()
    if not await course.over:
        return
    await turnover.finish(plan.drain_s)
    worker.report(
        [],
        clients_without_echo=turnover.lost,
        lost=turnover.lost,
        retried=turnover.retried,
        latency=arrivals.encoded(),
        **course.figures(),
    )

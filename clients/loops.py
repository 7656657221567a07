"""The kinds of load whose clients stay connected: closed, open, idle."""

import asyncio
from time import perf_counter_ns as clock

from course import Course, slice_at_once
from pacing import Paced
from schedule import Schedule
from worker import Worker

OVERDUE = 65_536  # open loop: this many values are tallied even when the next message is near


async def closed(worker: Worker) -> None:
    """Every client sends its next message when the echo has come."""
    plan, meter, clients = worker.plan, worker.meter, worker.conversations
    course = Course(
        plan,
        worker.orders,
        meter,
        count=lambda: meter.latencies.ever,
        on_their_way=lambda: meter.there * plan.depth,
        by_rounds=True,
    )
    counts: list[int] = []

    def start() -> None:
        meter.latencies.clear()
        for client in clients:
            client.number_at_start = client.number

    def end() -> None:
        meter.sending = False
        counts[:] = [client.number - client.number_at_start for client in clients]

    def all_answered() -> bool:
        return all(client.number > client.number_at_start or client.ended for client in clients)

    course.on_start, course.on_end, course.all_answered = start, end, all_answered
    for client in clients:
        client.number_at_start = client.number
    meter.sending = True
    course.begin()
    for client in clients:
        client.say(clock())
    if not await course.over:
        return
    await worker.drain(lambda: not any(client.outstanding for client in clients))
    worker.report(
        counts,
        clients_without_echo=counts.count(0),
        latency_sum_ns=course.latency_sum_ns,
        **course.figures(),
    )


async def open_(worker: Worker) -> None:
    """Messages leave on a schedule that does not wait.

    A message is recorded if its intended send is in the slice. What is counted in the slice
    (messages, rate_achieved, CPU) goes by the clock.
    """
    plan, pacer = worker.plan, worker.pacer
    clients = [client for client in worker.conversations if isinstance(client, Paced)]
    warmup_ns, duration_ns = int(plan.warmup_s * 1e9), int(plan.duration_s * 1e9)
    end_ns = warmup_ns + duration_ns
    schedule = Schedule(
        plan.arrivals,
        plan.rate,
        len(clients),
        end_ns,
        plan.seed,
        plan.first_id,
        shares=[request.share for request in plan.mix],
    )
    course = Course(
        plan, worker.orders, worker.meter, pacer.echoed, on_their_way=lambda: pacer.outstanding
    )
    sent_before = sent = 0

    def start() -> None:
        nonlocal sent_before
        sent_before = pacer.sent()

    def end() -> None:
        nonlocal sent
        sent = pacer.sent() - sent_before

    def keep() -> None:
        for histogram in pacer.histograms:
            if histogram.waiting > OVERDUE:
                histogram.tally()

    course.on_start, course.on_end, course.keep = start, end, keep
    slice_ns = pacer.begin(clients, schedule, warmup_ns)
    course.begin_at(pacer.zero_ns, slice_ns)
    pacer.on_stop = course.end
    if pacer.stopped:
        course.end(clock())
    await course.over
    await worker.drain(lambda: pacer.finished and not pacer.outstanding)
    unsent = pacer.close()
    worker.report(
        [client.echoed_in_slice for client in clients],
        clients_without_echo=sum(
            client.sent_in_slice > 0 and not client.echoed_in_slice for client in clients
        ),
        intended=pacer.lag.ever + unsent,
        sent=pacer.lag.ever,
        unsent=unsent,
        rate_intended=plan.rate,
        rate_achieved=sent / course.duration_ns * 1e9,
        latency_from_send=pacer.from_send.encoded(),
        schedule_lag=pacer.lag.encoded(),
        read_lag=pacer.read_lag.encoded(),
        latency_by_request=[each.encoded() for each in pacer.by_request],
        **course.figures(),
    )


async def idle(worker: Worker) -> None:
    """Every client holds its connection, then echoes once more, a few at a time."""
    meter, clients = worker.meter, worker.conversations
    meter.latencies.clear()
    with slice_at_once() as held:
        await asyncio.sleep(worker.plan.duration_s)
    waiting = iter([client for client in clients if not client.ended])
    loop = asyncio.get_running_loop()

    async def echo_some() -> None:
        for client in waiting:
            echoed = loop.create_future()
            client.greet(echoed)
            try:
                await echoed
            except ConnectionError:
                continue  # counted where it happened

    echoers = [asyncio.create_task(echo_some()) for _ in range(worker.plan.connecting)]
    _, late = await asyncio.wait(echoers, timeout=worker.plan.drain_s)
    for echoer in late:
        echoer.cancel()
    counts = [client.number - 1 for client in clients]
    worker.report(
        counts,
        messages=meter.latencies.tally(),
        clients_without_echo=counts.count(0),
        **held.figures(),
        slice_s=worker.plan.duration_s,
        intervals="",
        stalls=[],
        longest_stall_ns=0,
        longest_stall_at_ns=0,
    )

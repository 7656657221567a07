"""The kinds of load whose clients stay connected: closed, open, idle."""

import asyncio
from collections.abc import Sequence
from time import perf_counter_ns as clock

from course import Course, slice_at_once
from schedule import Schedule
from worker import Worker

OVERDUE = 65_536  # open loop: this many values are tallied even when the next message is near


async def closed(worker: Worker) -> None:
    """Every client sends its next message when the echo has come."""
    plan, crowd = worker.plan, worker.crowd
    meter = crowd.meter
    course = Course(
        plan,
        worker.orders,
        meter,
        count=lambda: meter.latencies.ever,
        on_their_way=lambda: meter.there * plan.depth,
        by_rounds=True,
    )
    counts: Sequence[int] = ()

    def start() -> None:
        meter.latencies.clear()
        crowd.mark()

    def end() -> None:
        nonlocal counts
        meter.sending = False
        counts = crowd.counts()

    course.on_start, course.on_end, course.all_answered = start, end, crowd.all_answered
    crowd.mark()
    meter.sending = True
    course.begin()
    crowd.say_all()
    if not await course.over:
        return
    await crowd.drain(lambda: not crowd.outstanding())
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
    plan, crowd = worker.plan, worker.crowd
    pacer = crowd.pacer
    warmup_ns, duration_ns = int(plan.warmup_s * 1e9), int(plan.duration_s * 1e9)
    end_ns = warmup_ns + duration_ns
    schedule = Schedule(
        plan.arrivals,
        plan.rate,
        crowd.served,
        end_ns,
        plan.seed,
        plan.first_id,
        shares=[request.share for request in plan.mix],
    )
    course = Course(
        plan, worker.orders, crowd.meter, pacer.echoed, on_their_way=lambda: pacer.outstanding
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
    slice_ns = crowd.begin_pacing(schedule, warmup_ns)
    course.begin_at(pacer.zero_ns, slice_ns)
    pacer.on_stop = course.end
    if pacer.stopped:
        course.end(clock())
    await course.over
    await crowd.drain(lambda: pacer.finished and not pacer.outstanding)
    unsent = pacer.close()
    asked, echoed = crowd.in_slice()
    worker.report(
        echoed,
        clients_without_echo=sum(
            some > 0 and not any_echo for some, any_echo in zip(asked, echoed, strict=True)
        ),
        intended=pacer.lag.ever + unsent,
        sent=pacer.lag.ever,
        unsent=unsent,
        rate_intended=plan.rate,
        rate_achieved=sent / course.duration_ns * 1e9,
        latency_from_send=pacer.from_send.encoded(),
        latency_least="" if plan.mix else pacer.least.encoded(),
        schedule_lag=pacer.lag.encoded(),
        read_lag=pacer.read_lag.encoded(),
        latency_by_request=[each.encoded() for each in pacer.by_request],
        **course.figures(),
    )


async def idle(worker: Worker) -> None:
    """Every client holds its connection, then echoes once more, a few at a time."""
    crowd = worker.crowd
    latencies = crowd.meter.latencies
    latencies.clear()
    crowd.mark()
    with slice_at_once() as held:
        await asyncio.sleep(worker.plan.duration_s)
    await crowd.greet_again()
    counts = crowd.counts()
    worker.report(
        counts,
        messages=latencies.tally(),
        clients_without_echo=counts.count(0),
        **held.figures(),
        slice_s=worker.plan.duration_s,
        intervals="",
        stalls=[],
        longest_stall_ns=0,
        longest_stall_at_ns=0,
    )

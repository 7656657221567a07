"""One blocking call in one handler stalls everyone; specific libraries are required."""

import time

from _loading import Crowd, pinned, receive, send, serving, shuffled, working
from msgspec.structs import replace

from c10k.claims import figure, part

WORDS = "One blocking call in one handler stalls everyone; specific libraries are required."
EXPERIMENT = """
The servers of servers/working. After a rest one client's handler sleeps 100 ms: by time.sleep
(block), by the framework's own way out to a thread (offload), or as the framework teaches (wait);
5 ms later 1,000 other clients send one message each, all at once. How long each waits for its
echo. A block of 1 ms is the control.
"""
RULE = """
Of each event-driven server two parts. A block of 100 ms stalls everyone: supported when more than
90 % of the others waited 50 ms or longer, refuted when fewer, not resolved where 10 % or more did
so beside the block of 1 ms. Its own way out gives it back: supported when fewer than 10 % waited
that long while the same sleep was offloaded, refuted when more. Threads are shown beside them.
"""
OTHERS, BLOCK_MS, CONTROL_MS, STALLED_S, REST_S = 1000, 100, 1, 0.050, 0.050
GIVEN_UP_MS = 10_000.0
WORKS = (("block", BLOCK_MS), ("block", CONTROL_MS), ("offload", BLOCK_MS), ("wait", BLOCK_MS))


def measure(setting):
    samples = {}
    server_cpus, _ = pinned()
    for server in shuffled(working(), 0):
        setting.say(server.name)
        with serving(setting, server, server_cpus) as running, running.connect() as one:
            crowd = Crowd(running, OTHERS)
            for block in range(setting.repetitions + 1):
                for work, milliseconds in shuffled(WORKS, block):
                    time.sleep(REST_S)  # a server is at work for a while after its last echo
                    send(one, work, milliseconds)
                    time.sleep(0.005)
                    waits = sorted(crowd.waits_s())
                    receive(one)
                    where = f"{server.name} {work}-{milliseconds}"
                    late = sum(wait >= STALLED_S for wait in waits) + OTHERS - len(waits)
                    samples.setdefault(f"{where} share", []).append(late / OTHERS)
                    longest = waits[-1] * 1000 if waits else GIVEN_UP_MS
                    samples.setdefault(f"{where} longest", []).append(longest)
            crowd.close()
    return samples


def decide(samples):
    for name in sorted({key.split()[0] for key in samples}):

        def found(work, what, name=name):
            return samples.get(f"{name} {work} {what}", ())

        def longest(work, found=found):
            return figure(
                f"longest wait, {work.replace('-', ' ')} ms", found(work, "longest"), "ms"
            )

        shown = "share of the others that waited 50 ms"
        blocked = found(f"block-{BLOCK_MS}", "share")
        control = found(f"block-{CONTROL_MS}", "share")
        stalls = part(
            f"{name}: a block of 100 ms stalls everyone",
            blocked,
            above=0.9,
            name=shown,
            beside=[
                figure("beside a block of 1 ms", control),
                *map(longest, (f"block-{BLOCK_MS}", f"block-{CONTROL_MS}")),
            ],
        )
        if not control or sorted(control)[len(control) // 2] >= 0.1:
            stalls = replace(stalls, decision="not resolved")
        back = part(
            f"{name}: offloaded, it stalls nobody",
            found(f"offload-{BLOCK_MS}", "share"),
            below=0.1,
            name=shown,
            beside=map(longest, (f"offload-{BLOCK_MS}", f"wait-{BLOCK_MS}")),
        )
        for one in (stalls, back):
            yield replace(one, decision="") if name.startswith("threads") else one

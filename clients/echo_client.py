"""The shared async client: connects, waits for every first echo, measures and reports.

One process is one worker. It reads a plan (JSON) and writes JSON lines:

  {"event": "connected", ...}   every connection has echoed once, or cannot
  {"event": "warmed", ...}      how long a round trip is; the slice can start
  {"event": "ended", ...}       the slice has ended, from when to when it was
  {"event": "result", ...}      the figures of the measured slice, and what was lost

Any program that does the same can take its place. See clients/README.md.
"""

import argparse
import gc
import ipaddress
import os
import resource
import sys
import time
from pathlib import Path

# Python does not add a script's own folder when PYTHONSAFEPATH is set, as it may be in a
# system's or a container's environment.
sys.path.insert(0, str(Path(__file__).resolve().parent))

import msgspec
import uvloop
from asyncio_crowd import AsyncioCrowd
from crowd import Crowd
from loops import closed, idle, open_
from native_crowd import NativeCrowd
from orders import Orders
from plan import Plan, PlanError, read
from saying import say
from turnover import churn, storm
from worker import Worker, resident_bytes

KINDS = {"closed": closed, "open": open_, "idle": idle, "storm": storm, "churn": churn}
# For everything that is not a connection. The suite counts on the same number (RESERVE in
# src/c10k/machine/fit.py); the client cannot import it, so a test compares the two.
SPARE_DESCRIPTORS = 64

EXAMPLE = """\
example:
  c10k serve asyncio_streams --bind 127.0.0.1:7000 &
  python clients/echo_client.py --port 7000 --clients 100 --duration 5
  python clients/echo_client.py --port 7000 --clients 100 --kind open --rate 1000

The first one as a plan, as the suite passes it:
  echo '{"port": 7000, "clients": 100, "duration_s": 5}' | python clients/echo_client.py --plan -
"""


async def run(plan: Plan, orders: Orders) -> None:
    """Carries out the whole plan. Raises PlanError when a later line is not an order."""
    worker = Worker(plan, orders, crowd_of(plan))
    crowd = worker.crowd
    before_bytes, began_ns = resident_bytes(), time.perf_counter_ns()
    if plan.kind != "storm":  # in a storm, connecting is what is measured
        await crowd.connect_all(plan.connecting)
    took_s = (time.perf_counter_ns() - began_ns) / 1e9
    # All objects of now live to the end, and the hot path makes no reference cycles.
    gc.collect()
    gc.freeze()
    gc.disable()
    say(
        "connected",
        connected=crowd.connected,
        served=crowd.served,
        failed=crowd.failed,
        connect_s=took_s,
        bytes_per_connection=(resident_bytes() - before_bytes) / max(crowd.connected, 1),
        tls=crowd.negotiated,
        loops=crowd.loops,
    )
    if plan.hold and not await orders.next():
        return  # the engine that should say when to begin is gone
    await KINDS[plan.kind](worker)
    if plan.hold:
        await orders.next()  # stay connected while the engine reads what the server holds


def crowd_of(plan: Plan) -> Crowd:
    """The clients, driven by C where the plan has a library for that. Raises PlanError."""
    if plan.library and not plan.authority and not plan.mix:
        return NativeCrowd(plan)
    return AsyncioCrowd(plan)


def command_line(orders: Orders) -> Plan:
    """The plan that the command line describes. Raises PlanError."""
    parser = argparse.ArgumentParser(
        prog="echo_client.py",
        description="Loads an echo server and checks every byte of every echo.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--plan", metavar="FILE", help="a JSON plan, - for a line on stdin")
    parser.add_argument("--host", help="the server's address (127.0.0.1)")
    parser.add_argument("--port", type=int, help="the server's port")
    parser.add_argument("--path", help="the server's UNIX socket, instead of host and port")
    parser.add_argument(
        "--authority", metavar="FILE", help="speak TLS; who may sign the certificate, PEM"
    )
    parser.add_argument("--library", metavar="FILE", help="inner loops in C (asyncio's)")
    parser.add_argument(
        "--kind",
        help="closed: next message after the echo; open: on a schedule; idle: hold; "
        "storm: all connect at once; churn: clients come and go (closed)",
    )
    parser.add_argument("--clients", type=int, help="connections (1)")
    parser.add_argument("--bytes", type=int, dest="message_bytes", help="size of a message (64)")
    parser.add_argument("--depth", type=int, help="messages a client keeps on their way (1)")
    parser.add_argument("--rate", type=float, help="open: messages/s of all clients together")
    parser.add_argument("--arrivals", help="open: poisson or constant (poisson)")
    parser.add_argument("--seed", type=int, help="open: seed of the schedule (0)")
    parser.add_argument(
        "--duration",
        type=float,
        dest="duration_s",
        help="length of the slice, s (5); 20 round trips if longer",
    )
    parser.add_argument(
        "--ceiling", type=float, dest="ceiling_s", help="longest slice of 20 round trips, s (60)"
    )
    parser.add_argument("--warmup", type=float, dest="warmup_s", help="warm-up, s (0.5)")
    parser.add_argument("--connecting", type=int, help="connections in flight at a time (128)")
    given = {key: value for key, value in vars(parser.parse_args()).items() if value is not None}
    source = given.pop("plan", None)
    if "authority" in given:
        given["authority"] = text_of("--authority", given["authority"])
    if source is None:
        return read(msgspec.json.encode(given))
    if given:
        raise PlanError("--plan excludes all other arguments: write them into the plan")
    if source == "-":
        return read(orders.first())
    return read(text_of("--plan", source))


def text_of(option: str, file: str) -> str:
    """The text of a file that an option names. Raises PlanError."""
    try:
        return Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise PlanError(f"{option} {file}: it is not text") from None
    except OSError as error:
        raise PlanError(f"{option} {file}: {(error.strerror or str(error)).lower()}") from None


def network_warning(plan: Plan) -> str:
    """A warning when the plan's server is not on this machine's loopback; else ""."""
    try:
        near = bool(plan.path) or ipaddress.ip_address(plan.host).is_loopback
    except ValueError:
        near = plan.host == "localhost"
    how = "" if plan.authority else ", unencrypted"
    return "" if near else f"loads {plan.host!r} port {plan.port} over the network{how}"


def allow_descriptors(plan: Plan) -> None:
    """Raises the soft limit as far as allowed. Raises PlanError when the clients do not fit."""
    allowed = most_descriptors()
    room = allowed - SPARE_DESCRIPTORS
    if plan.clients > room:
        raise PlanError(
            f"{plan.clients} clients need more descriptors than the {allowed} this process may "
            f"have: at most {room} fit; ulimit -n {plan.clients + SPARE_DESCRIPTORS} allows more"
        )


def most_descriptors() -> int:
    """Raises the soft limit as far as the kernel allows; returns the new limit.

    A container may inherit a hard limit above fs.nr_open. The kernel then refuses every
    limit above fs.nr_open, including the inherited one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = [(hard, hard)]
    try:
        most = int(Path("/proc/sys/fs/nr_open").read_text(encoding="ascii"))
        limits.append((most, most))
    except (OSError, ValueError):
        pass  # not Linux, or the limit cannot be read
    for limit in limits:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        except (OSError, ValueError):
            continue
        soft = limit[0]
        break
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


async def run_and_leave(plan: Plan, orders: Orders) -> None:
    """Runs the plan and ends the process without closing its loop.

    The kernel closes ten thousand sockets faster than ten thousand transports do. And closing
    the loop needs descriptors, which may have run out.
    """
    try:
        await run(plan, orders)
    except BrokenPipeError:
        os._exit(1)
    except PlanError as error:
        print(f"echo_client: {error}", file=sys.stderr, flush=True)
        os._exit(2)
    except OSError as error:
        print(f"echo_client: {error.strerror or error}", file=sys.stderr, flush=True)
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)


def main() -> int:
    orders = Orders()
    try:
        plan = command_line(orders)
        allow_descriptors(plan)
    except PlanError as error:
        print(f"echo_client: {error}", file=sys.stderr)
        return 2
    if warning := network_warning(plan):
        print(f"echo_client: {warning}", file=sys.stderr)
    try:
        uvloop.run(run_and_leave(plan, orders))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

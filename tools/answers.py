"""What the kept sessions say to questions that were asked elsewhere: tables, drafts of comments.

docs/questions.md quotes these between `<!-- answer: NAME -->` and `<!-- end -->`, where NAME is
a key of ANSWERS. A session whose figures are known to be wrong answers nothing (see distrust).
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from chosen import column
from tables import grid

from c10k.judge import compare, judge
from c10k.model import Compared, Judged, Session, Spread
from c10k.render import columns
from c10k.render.numbers import UNKNOWN, ratio, scaled
from c10k.run import store
from c10k.text import on_interpreter

ROOT = Path(__file__).resolve().parents[1]
C10K, INTERPRETERS = "reference-c10k", "reference-interpreters"
CONTENDERS, SPREAD, TLS = "reference-contenders", "reference-spread", "reference-tls"
OPTIMISED = "--enable-optimizations"
REPAIRED = datetime.fromisoformat("2026-11-25T00:00+00:00")  # the instrument: results/README.md
MACHINE = (
    "One virtual machine with two cores, over loopback, three blocks; 95 % intervals, verdicts "
    "corrected for the number of rows."
)


class Answer(NamedTuple):
    """A table, the commands that show its rows, and a comment whose last line is the first one."""

    commands: Sequence[str]
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    comment: Sequence[str]

    def __str__(self) -> str:
        shown = "\n".join(f"$ {command}" for command in self.commands)
        table = grid(self.headings, self.rows, "l" + "r" * (len(self.headings) - 1))
        draft = "\n".join((*self.comment, self.commands[0]))
        return (
            f"```console\n{shown}\n```\n\n{table}\n"
            f"A comment that could be posted there:\n\n```text\n{draft}\n```\n"
        )


def distrust(session: Session) -> str:
    """Why a session's figures answer nothing; "" when they may."""
    environment = session.environment
    if session.altered or session.mixed:
        return "it was altered or mixed"
    if environment["suite"]["modified"]:
        return "its tree was modified"
    flags = environment["python"]["optimisation"]
    if not isinstance(flags, list) or OPTIMISED not in flags:
        return "its interpreter was not optimised"
    if datetime.fromisoformat(session.started_at) < REPAIRED:
        return "its instrument was not repaired yet"
    return ""


@cache
def trusted(name: str) -> tuple[Session, Judged]:
    """A kept session by its folder's name. Raises ValueError where it answers nothing."""
    session = store.load(ROOT / "results" / name)
    if why := distrust(session):
        raise ValueError(f"results/{name} answers nothing: {why}; measure it again")
    return session, judge(session)


def called(label: str) -> str:
    """What an interpreter of the session of interpreters is. Raises ValueError if unoptimised."""
    _, judged = trusted(INTERPRETERS)
    row = next(row for row in judged.rows if row.interpreter == label and row.status == "ok")
    if OPTIMISED not in row.build:
        raise ValueError(f"{label} was not optimised; measure it again")
    return f"Python {on_interpreter(row.python, row.build, row.gil)}"


def release(session: str, framework: str) -> str:
    """The release of a framework that a session measured."""
    _, judged = trusted(session)
    found = {row.versions[framework] for row in judged.rows if framework in row.versions}
    return f"{framework} {', '.join(sorted(found))}"


def python(session: str) -> str:
    """The version of Python that a session measured."""
    stored, _ = trusted(session)
    return str(stored.environment["python"]["version"])


def rates(a: str, b: str, labels: Iterable[str]) -> list[tuple[str, Compared]]:
    """B's rate over A's in closed loops, on each of these interpreters."""
    session, _ = trusted(INTERPRETERS)
    return [
        (called(label), row)
        for label in labels
        for row in compare.servers(session, f"{a}@{label}", f"{b}@{label}").rows
        if row.load.kind == "closed"
    ]


def raced(found: Sequence[tuple[str, Compared]]) -> list[tuple[str, ...]]:
    """The lines of a table of rates."""
    return [
        (
            where,
            f"{row.clients:,}",
            _rate(row.a, row.a_bound),
            _rate(row.b, row.b_bound),
            ratio(row.ratio),
            row.verdict,
        )
        for where, row in found
    ]


def _rate(spread: Spread | None, bound: bool) -> str:
    if spread is None:
        return UNKNOWN
    return ("≥ " if bound else "") + scaled("messages_per_s", spread.median)


def said(found: Sequence[tuple[str, Compared]], clients: int) -> str:
    """The ratios at this count in words, one for each interpreter, with their verdicts."""
    rows = [row for row in found if row[1].clients == clients]
    return "; ".join(f"{ratio(row.ratio)}, {row.verdict}, on {where}" for where, row in rows)


def shown(session: str, kind: str, clients: int, titles: Sequence[str]) -> dict[str, list[str]]:
    """The cells of these columns under a kind of load, by server."""
    _, judged = trusted(session)
    cells = [column(title) for title in titles]
    return {
        row.server: [cell(row) for cell in cells]
        for row in judged.rows
        if (row.load.kind, row.clients) == (kind, clients)
    }


RACED = ("interpreter", "clients", "A, messages/s", "B, messages/s", "B over A", "verdict")


def compared(a: str, b: str, *labels: str) -> list[str]:
    """The commands that show the rows of rates()."""
    return [f"c10k compare results/{INTERPRETERS} {a}@{on} {b}@{on}" for on in labels]


def uvloop() -> Answer:
    """MagicStack/uvloop#566."""
    pair = ("asyncio_streams", "uvloop_streams")
    found = rates(*pair, ("default", "3.13"))
    return Answer(
        compared(*pair, "default", "3.13"),
        RACED,
        raced(found),
        [
            f"Echo of 64 bytes over streams, one core, {release(INTERPRETERS, 'uvloop')}.",
            f"Its rate over asyncio's with 100 clients: {said(found, 100)}.",
            f"With 10,000 clients: {said(found, 10_000)}.",
            f"{MACHINE} Larger messages were not measured.",
        ],
    )


def trio() -> Answer:
    """python-trio/trio#604."""
    pair = ("asyncio_streams", "trio_streams")
    found = rates(*pair, ("default", "3.13"))
    fair = shown(INTERPRETERS, "closed", 10_000, ["fairness", "silence s"])
    even, silence = fair["trio_streams@default"]
    return Answer(
        compared(*pair, "default", "3.13"),
        RACED,
        raced(found),
        [
            f"Echo of 64 bytes over TCP, one core, {release(INTERPRETERS, 'trio')}. Rate over "
            f"asyncio's with 100 clients: {said(found, 100)}.",
            f"With 10,000 clients: {said(found, 10_000)}.",
            f"Jain's index of the 10,000 (3.11): {even}; the longest silence of one: {silence} s.",
            f"{MACHINE} trio's tail at 10,000/s differed by block, and is not resolved.",
        ],
    )


def curio() -> Answer:
    """dabeaz/curio#106."""
    titles = ["messages/s", "fairness", "slowest %", "no echo, worst", "silence s"]
    servers = ("asyncio_streams", "curio_sockets", "trio_streams", "threads_sockets")
    found = {clients: shown(C10K, "closed", clients, titles) for clients in (10_000, 19_900)}
    rate, even, _, silent, longest = found[19_900]["curio_sockets"]
    return Answer(
        [f"c10k show results/{C10K} --clients 10k 19.9k --servers {' '.join(servers)}"],
        ("server", "clients", *titles),
        [
            (server, f"{clients:,}", *cells[server])
            for clients, cells in found.items()
            for server in servers
        ],
        [
            f"{release(C10K, 'curio')}, 19,900 clients that each wait for their echo: Jain's index "
            f"{even}, {silent} without an echo.",
            f"The longest silence of one was {longest} s, at {rate} messages/s in all. Two blocks.",
            "So eager reads starved nobody where each client had one message under way.",
            "Clients that keep their socket full, as here, were not measured.",
        ],
    )


IN_A_TURN = {  # how many clients a server accepts: benchmarks/workloads/accepts.toml
    "asyncio_streams": "4,096",
    "gevent_streamserver": "100",
    "twisted_protocol": "as many as it expects",
    "curio_sockets": "all that wait",
    "trio_streams": "1",
    "uvloop_streams": "1",
}


def accepting() -> Answer:
    """python-trio/trio#14."""
    titles = ["p99 ms", "connect s", "retried", "accept queue"]
    found = shown(INTERPRETERS, "storm", 10_000, titles)
    rows, tried = [], {}
    for label in ("default", "3.13"):
        for name, turn in IN_A_TURN.items():
            cells = found[f"{name}@{label}"]
            rows.append((name, called(label), turn, *cells))
            tried[name, label] = f"{cells[2]} retried, {cells[0]} ms, on {called(label)}"

    def both(name: str) -> str:
        return "; ".join(tried[name, label] for label in ("default", "3.13"))

    names = " ".join(f"{name}@{label}" for label in ("default", "3.13") for name in IN_A_TURN)
    return Answer(
        [
            f"c10k show results/{INTERPRETERS} --clients 10k "
            f"--columns p99 connect retried accept --servers {names}"
        ],
        ("server", "interpreter", "accepts in a turn", *titles),
        rows,
        [
            "10,000 clients connect at once, listen(4096). Connections retried, p99 of the first "
            f"echo, {release(INTERPRETERS, 'trio')}: {both('trio_streams')}.",
            f"{release(INTERPRETERS, 'uvloop')}, which accepts one in a turn too: "
            f"{both('uvloop_streams')}.",
            "So one in a turn does not fill the queue by itself: how long a turn takes counts.",
            "Medians of three blocks on two cores. trio with batches was not measured.",
        ],
    )


def threads() -> Answer:
    """discuss.python.org, 106314."""
    pair = ("asyncio_streams", "threads_sockets")
    found = rates(*pair, ("3.13t", "3.13"))
    held = shown(INTERPRETERS, "idle", 10_000, ["KiB/client"])
    memory = [held[f"{name}@3.13t"][0] for name in ("threads_sockets", "asyncio_streams")]
    return Answer(
        compared(*pair, "3.13t", "3.13"),
        RACED,
        raced(found),
        [
            "Echo of 64 bytes, one core: the rate of a thread for each client over asyncio's.",
            f"With 10,000 clients: {said(found, 10_000)}.",
            f"Without the lock: {memory[0]} KiB a client with threads, {memory[1]} with asyncio.",
            f"{MACHINE} An echo does not compute; handlers that do are another question.",
        ],
    )


def sharing() -> Answer:
    """Kludex/uvicorn-worker#34."""
    keys = ("worker_clients_most", "worker_cpu_most")
    _, judged = trusted(SPREAD)
    cells = [columns.figure(key) for key in keys]
    found = {
        (row.server, row.clients): [cell(row) for cell in cells]
        for row in judged.rows
        if row.load.kind == "closed"
    }

    def most(server: str) -> str:
        few, many = found[server, 100][0], found[server, 1_000][0]
        return f"{few} % of 100 and {many} % of 1,000"

    return Answer(
        [f"c10k show results/{SPREAD}"],
        ("server", "clients", "clients: most %", "CPU: most %"),
        [(server, f"{clients:,}", *told) for (server, clients), told in found.items()],
        [
            "Two processes of one server, echo of 64 bytes; the share of the process that has most "
            "of the clients (even: 50 %).",
            f"asyncio on one socket: {most('asyncio_streams-x2')}; each with SO_REUSEPORT: "
            f"{most('asyncio_streams-x2-reuseport')}.",
            f"uvloop on one socket: {most('uvloop_streams-x2')}; each with SO_REUSEPORT: "
            f"{most('uvloop_streams-x2-reuseport')}.",
            "Medians of two blocks, both processes on one core. gunicorn and uvicorn themselves "
            "were not measured.",
        ],
    )


def over_tls() -> Answer:
    """python/cpython#109534."""
    titles = ["KiB/client", "own KiB/client"]
    found = shown(TLS, "idle", 10_000, titles)
    plain = shown(C10K, "idle", 10_000, titles)
    _, judged = trusted(C10K)
    return Answer(
        [f"c10k show results/{TLS} --clients 10k", f"c10k show results/{C10K} --clients 10k"],
        ("server", *(f"{title}, TLS" for title in titles), *(f"{t}, plain" for t in titles)),
        [
            (server, *cells, *plain[without])
            for server, cells in sorted(found.items())
            for without in plain
            if without.split("_")[0] == server.split("_")[0] and without != judged.control
        ],
        [
            "10,000 clients that say nothing, TLS 1.3; the server's own memory for each: "
            f"{found['asyncio_tls'][1]} KiB with asyncio, {found['uvloop_tls'][1]} with uvloop.",
            f"Without TLS: {plain['asyncio_streams'][1]} KiB with asyncio.",
            "asyncio gives each connection over TLS a buffer of 256 KiB "
            "(sslproto.SSLProtocol.max_size), filled with zeros.",
            f"Python {python(TLS)}, medians of two blocks. Whether memory is given back was not "
            "measured.",
        ],
    )


def pair(a: str, b: str, asked: str, left: str) -> Answer:
    """Two servers of the session of contenders against each other."""
    session, _ = trusted(CONTENDERS)
    found = [("one core", row) for row in compare.servers(session, a, b).rows]
    return Answer(
        [f"c10k compare results/{CONTENDERS} {a} {b}"],
        ("on", *RACED[1:]),
        raced(found),
        [
            asked,
            f"Its rate over that of {a} with 100 clients: {said(found, 100)}.",
            f"With 1,000 clients: {said(found, 1_000)}.",
            f"{MACHINE} {left}",
        ],
    )


def io_uring() -> Answer:
    """axboe/liburing#189."""
    return pair(
        "epoll_c",
        "uring_c",
        "Echo of 64 bytes, both servers in C, one thread each: io_uring over epoll.",
        "The client is the limit of both, so the rates are lower bounds.",
    )


def twisted() -> Answer:
    """MagicStack/vmbench#11."""
    return pair(
        "twisted_protocol",
        "twisted_uvloop",
        f"Echo of 64 bytes, {release(CONTENDERS, 'twisted')}: asyncioreactor on uvloop "
        "over the reactor that Twisted chooses.",
        "Larger messages were not measured.",
    )


ANSWERS: dict[str, Callable[[], Answer]] = {
    "cpython-109534": over_tls,
    "curio-106": curio,
    "discuss-106314": threads,
    "liburing-189": io_uring,
    "trio-14": accepting,
    "trio-604": trio,
    "uvicorn-worker-34": sharing,
    "uvloop-566": uvloop,
    "vmbench-11": twisted,
}


def answer(path: Path) -> str:
    """The block of docs/questions.md that has this name."""
    return str(ANSWERS[path.name]())

"""Words of the command line → values. Errors are UserErrors that name the option."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..declare import units, values
from ..errors import UserError
from ..judge import comparison, figures
from ..model import Blocks, Goal, Server, ServerCores

T = TypeVar("T")

_UNITS = {"_per_s": "1/s", "_us": "µs", "_bytes": "bytes", "_us_per_message": "µs", "_s": "s"}


def split(words: Sequence[str] | None) -> list[str]:
    """--servers a,b c → a b c."""
    return [part for word in words or () for part in word.split(",") if part]


def counts(words: Sequence[str] | None) -> list[int]:
    """--clients 100,1k 10k → 100 1000 10000."""
    return [_read("--clients", units.number, word) for word in split(words)]


def server_cores(text: str | None) -> ServerCores | None:
    """2 → 2; all; None without the option. workload.override says which numbers may be given."""
    if text is None:
        return None
    if text == "all":
        return "all"
    try:
        return int(text)
    except ValueError:
        raise UserError(f"--server-cores {text}: must be a whole number or all") from None


def share(option: str, text: str) -> float:
    """5% → 0.05; option is what errors name."""
    return _read(option, units.share, text)


def _read(option: str, reader: Callable[[Any], T], value: Any) -> T:
    try:
        return reader(value)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None


def figures_to_name() -> dict[str, str]:
    """What --fail-on may name: as it is written → the figure."""
    named = {key.removesuffix("_bytes").removesuffix("_us"): key for key in figures.FIGURES}
    return {**named, comparison.BREAKING: comparison.BREAKING}


def fail_on_help() -> str:
    """The help of --fail-on, with every figure that it takes."""
    known = ", ".join(_with_unit(*each) for each in figures_to_name().items())
    return (
        "Fail if the second side is worse by more than this: 5% applies to the primary figure "
        "of each load, FIGURE:5% to another figure (messages_per_s:5% memory_per_client:10%). "
        "Exit code 1: something is broken, or its whole interval is worse than that; 2: it cannot "
        f"be told; 0: shown to be no worse than that. Figures: {known}."
    )


def _with_unit(name: str, figure: str) -> str:
    unit = next((unit for end, unit in _UNITS.items() if figure.endswith(end)), "")
    return f"{name} ({unit})" if unit else name


def thresholds(words: Sequence[str] | None) -> dict[str, float]:
    """--fail-on 5% messages_per_s:5% → figure ("" for the primary one) → share."""
    found: dict[str, float] = {}
    known = figures_to_name()
    for word in split(words):
        name, colon, text = word.rpartition(":")
        figure = name if name in known.values() else known.get(name, "")
        if colon and not figure:
            raise UserError(
                f"--fail-on {word}: there is no figure {name!r}; choose from {', '.join(known)}"
            )
        if figure in found:
            raise UserError(f"--fail-on {word}: {figure or 'the primary figure'} is given twice")
        found[figure] = share(f"--fail-on {word}", text)
    return found


def goal(precision: str | None, max_blocks: int | None, time: str | None) -> Goal | None:
    """The goal that --precision, --max-blocks and --time set; None without --precision."""
    if precision is None:
        if max_blocks is not None or time is not None:
            raise UserError("--max-blocks and --time need --precision")
        return None
    blocks = 50 if max_blocks is None else max_blocks
    return Goal(
        share("--precision", precision),
        _read(f"--max-blocks {blocks}", lambda value: values.convert(value, Blocks), blocks),
        None if time is None else _read("--time", units.seconds, time),
    )


def servers_of(words: Sequence[str] | None, servers: Sequence[Server]) -> set[str]:
    """The names of a session's servers that these names and @tiers select; none for no words."""
    found: set[str] = set()
    for word in split(words):
        by_tier = {server.name for server in servers if f"@{server.tier}" == word}
        matched = by_tier or {server.name for server in servers if server.name == word}
        if not matched:
            known = ", ".join(server.name for server in servers)
            raise UserError(
                f"--servers {word}: not in the session; choose from {known}, or a tier such as "
                "@canonical"
            )
        found |= matched
    return found

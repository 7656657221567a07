"""The text of a new server: a copy of the closest existing one, under its own name.

The templates are the servers themselves, so a newcomer starts from what is measured, reads like
its framework's tutorial and passes its check.
"""

import re
from collections.abc import Iterable

from .. import paths
from ..errors import UserError
from ..model import Server

_NAME = re.compile(r"[a-z]\w*", re.ASCII | re.IGNORECASE)
_KEYS = re.compile(r'^# (?P<key>title|tier) = ".*"$', re.MULTILINE)


class NoTemplate(UserError):
    """There is nothing to start from; the message says what there is."""


def frameworks(servers: Iterable[Server]) -> dict[str, list[Server]]:
    """Python servers by the first word of their names, the canonical one first."""
    found: dict[str, list[Server]] = {}
    for server in sorted(servers, key=lambda server: server.tier != "canonical"):
        if not server.start and not server.hook:
            found.setdefault(server.name.partition("_")[0], []).append(server)
    return dict(sorted(found.items()))


def template(servers: Iterable[Server], framework: str = "", model: str = "") -> Server:
    """The server to start from, canonical where there is one. Raises NoTemplate."""
    known = frameworks(servers)
    if framework and framework not in known:
        raise NoTemplate(f"--framework {framework}: choose from {', '.join(known)}")
    near = known[framework] if framework else [each for group in known.values() for each in group]
    fit = [server for server in near if model in ("", server.model)]
    if not fit:
        models = ", ".join(dict.fromkeys(repr(server.model) for server in near))
        raise NoTemplate(f"--model {model!r}: choose from {models}")
    return min(fit, key=lambda server: server.tier != "canonical")


def text(server: Server, name: str) -> str:
    """The template's file with the new name as its title, as a variant. Raises NoTemplate."""
    if not _NAME.fullmatch(name):
        raise NoTemplate(
            f"{name!r} cannot name a server: use letters, digits and _, first a letter"
        )
    values = {"title": name, "tier": "variant"}
    source = paths.file_of(server.path).read_text(encoding="utf-8")
    return _KEYS.sub(lambda match: f'# {match["key"]} = "{values[match["key"]]}"', source)

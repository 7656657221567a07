"""What is fed to the parsers: random text, and sound documents with something wrong in them.

`fuzzed` makes a test of a check. Some examples are enough for `make test`; with C10K_FUZZ=1
(`tox -e fuzz`) there are as many as `long` says, with 0.1 a tenth of them. A parser that costs
microseconds gets its inputs in batches, as generating an example costs a millisecond.
"""

import copy
import json
import os
from collections import Counter

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from c10k.text import plain

LONG = float(os.environ.get("C10K_FUZZ") or 0)
COUNTED = Counter()  # parser → inputs that it was given
BATCH = 50


def fuzzed(parser, strategy, *, quick, long, batched=False):
    """check(input) → a test of it on so many inputs."""

    def decorate(check):
        examples = int(long * LONG) if LONG else quick

        @settings(
            max_examples=max(1, examples // BATCH if batched else examples),
            deadline=None,
            database=None,
            phases=[Phase.generate, *([] if LONG else [Phase.shrink])],
            suppress_health_check=list(HealthCheck),
        )
        @given(
            st.lists(strategy, min_size=BATCH, max_size=BATCH)
            if batched
            else strategy.map(lambda each: [each])
        )
        def test(inputs):
            for each in inputs:
                COUNTED[parser] += 1
                check(each)

        test.__name__, test.__doc__, test.__module__ = (
            check.__name__,
            check.__doc__,
            check.__module__,
        )
        return test

    return decorate


def one_line(error):
    """What a user is shown of an error."""
    assert str(error)
    assert "\n" not in plain(str(error))


# What text may hold that a program trips over: controls, C1, bidi, halves of pairs, markup,
# formulas, ways out of a folder, and names that mean something to somebody.
NASTY = (
    "", " ", "\0", "\n", "\x1b[2J\x1b]0;x\x07", "\x9b31m", "\u202e", "\ud800", "\ufeff", "\u2028",
    "<script>alert(1)</script>", '" onload="x', "javascript:x", "|", "\\|", "`", "=cmd()", "+1",
    "@x", "../..", "/etc/passwd", "~", "nul", "constructor", "__proto__", "{0.__class__}", "%s",
    "{out}", "$HOME", "x" * 300, "ä" * 130, "1e999", "NaN", "9" * 5000, "١٢", "0x1f", "-0",
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 2, 3, 7, 64, 999, 10**6, 2**31, 2**53, 10**15, -(10**15), 10**15 + 1, 2**63, 2**64,
    10**30, 10**400, 0.0, -0.0, 0.5, 1e-9, 1e-300, 5e-324, 1e14, 1e15, 1e16, 1e300, float("inf"),
    float("-inf"), float("nan"),
)  # fmt: skip
TEXT = st.sampled_from(NASTY) | st.text(max_size=12)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.integers(),
    st.floats(),
    TEXT,
    st.just([]),
    st.just({}),
    st.lists(st.sampled_from(NUMBERS) | TEXT, max_size=3),
    st.dictionaries(TEXT, st.sampled_from(NUMBERS) | TEXT, max_size=3),
    st.sampled_from((5, 500, 3000)).map(lambda depth: _nested(depth)),
)


def _nested(depth):
    tree: object = 1
    for _ in range(depth):
        tree = [tree]
    return tree


def _alike(value):
    """Other values of the same type: what a check of types lets through."""
    if isinstance(value, bool) or value is None:
        return VALUES
    if isinstance(value, int | float):
        kept = [each for each in NUMBERS if isinstance(each, type(value))]
        return st.sampled_from(kept)
    if isinstance(value, str):
        return TEXT
    return VALUES


@st.composite
def mutated(draw, trees):
    """A JSON tree of those given, wrong in up to three places."""
    tree = copy.deepcopy(draw(st.sampled_from(trees)))
    for _ in range(draw(st.integers(1, 3))):
        parent, key = None, None
        at = tree
        while isinstance(at, dict | list) and at and (parent is None or draw(st.integers(0, 5))):
            parent = at
            keys = sorted(at) if isinstance(at, dict) else range(len(at))
            key = draw(st.sampled_from(keys))
            at = at[key]
        if parent is None:
            return draw(VALUES)
        match draw(st.integers(0, 9)):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[draw(TEXT)] = draw(VALUES)
            case 1 | 2 if isinstance(parent, list):
                parent.append(parent[key])
            case 3 | 4:
                parent[key] = draw(VALUES)
            case _:
                parent[key] = draw(_alike(at))
    return tree


def as_json(tree):
    """JSON as lenient writers have it: NaN, Infinity and lone surrogates with it."""
    try:
        return json.dumps(tree).encode()
    except (RecursionError, ValueError):
        return b"[" * 5000


@st.composite
def torn(draw, contents):
    """Bytes that were cut short, or have others among them."""
    content = draw(contents)
    if not content:
        return content
    at = draw(st.integers(0, len(content) - 1))
    cut = draw(st.sampled_from((0, 1, 20, len(content))))
    return content[:at] + draw(st.binary(max_size=4)) + content[at + cut :]


def hurt(trees):
    """Bytes of a mutated tree; some of them torn as well."""
    sound = mutated(trees).map(as_json)
    return sound | sound | torn(sound)


@st.composite
def edited(draw, texts):
    """One of some texts with a line, a value or a few characters changed."""
    text = draw(st.sampled_from(texts))
    match draw(st.integers(0, 4)):
        case 0:
            lines = text.splitlines()
            at = draw(st.integers(0, len(lines) - 1))
            lines[at : at + draw(st.integers(0, 2))] = draw(st.lists(TEXT | _ENTRIES, max_size=2))
            return "\n".join(lines)
        case 1 | 2:
            lines = text.splitlines()
            valued = [i for i, line in enumerate(lines) if "=" in line]
            at = draw(st.sampled_from(valued))
            lines[at] = lines[at].partition("=")[0] + "= " + draw(_TOML_VALUES)
            return "\n".join(lines)
        case _:
            at = draw(st.integers(0, len(text)))
            return text[:at] + draw(TEXT) + text[at + draw(st.integers(0, 9)) :]


_TOML_VALUES = st.one_of(
    st.sampled_from(NUMBERS).map(lambda value: str(value).lower()),
    TEXT.map(lambda text: json.dumps(text)),
    TEXT,
    st.sampled_from((
        "[]", "{}", "[" * 3000, "[1, 2]", "['a', 'b']", "[[1]]", "1979-05-27", "2021-13-45", "nan",
        "inf", "0x" + "f" * 5000, "'''", '"\\ud800"', '"\\u0000"', "true", "{x = 1}",
        f"{list(range(1, 900))}",
    )),
)  # fmt: skip
_ENTRIES = st.tuples(
    st.sampled_from(("clients", "blocks", "servers", "a.b.c", "[load]", "[[load]]", "start", "x")),
    _TOML_VALUES,
).map(" = ".join)

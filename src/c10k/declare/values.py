"""Values that people write, as the model's types: their bounds stand there and nowhere else.

msgspec checks them. What it says is put into plain English here, with the key first:
"Expected `int` >= 1 - at `$.load[0].clients`" → "load[0].clients: must be 1 or more".
"""

import re
from typing import Any, get_args

import msgspec

from ..model import Arrivals, Client, Kind, Needs, Sharing, Tier, Work
from .toml import Unreadable

_OF_A_KEY = {
    r"Object missing required field `(.+)`": "missing",
    r"Object contains unknown field `(.+)`": "there is no such key",
}
_OF_A_VALUE = {
    r"Expected `(?:int|float)` >= (.+)": "must be {} or more",
    r"Expected `(?:int|float)` <= (.+)": "must be {} or less",
    r"Expected `(?:int|float)` > (.+)": "must be more than {}",
    r"Expected `(?:int|float)` < (.+)": "must be less than {}",
    r"Expected `array` of length >= 1": "must not be empty",
    r"Expected `str` of length <= (.+)": "must have {} characters or fewer",
    r"Expected `(int.*)`, got `float`": "must be {}",
    r"Expected `(.+)`, got `(.+)`": "must be {}, not {}",
    r"Number out of range": "is too large",
    r"Invalid enum value (.+)": "{} is not one of {choices}",
}
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
_CHOICES = {
    "kind": Kind,
    "arrivals": Arrivals,
    "client": Client,
    "sharing": Sharing,
    "tier": Tier,
    "work": Work,
    "needs": Needs,
}
# Of keys that take a number or one word: what is said of anything else.
_NUMBER_OR_WORD = {"server_cores": 'must be a whole number or "all"'}


def convert(value: object, kind: Any) -> Any:
    """The value as this type. Raises Unreadable: what is wrong, after the key if there is one."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Unreadable(_in_words(str(error))) from None


def _in_words(error: str) -> str:
    """msgspec's message in plain English, with the key first."""
    said, _, path = error.partition(" - at `$")
    key = path.removesuffix("`").lstrip(".")
    for pattern, words in _OF_A_KEY.items():
        if match := re.fullmatch(pattern, said):
            return f"{key}.{match[1]}: {words}".lstrip(".")
    if key in _NUMBER_OR_WORD and not said.startswith("Expected `int` "):
        return f"{key}: {_NUMBER_OR_WORD[key]}"
    for pattern, words in _OF_A_VALUE.items():
        if match := re.fullmatch(pattern, said):
            said = words.format(*map(_spelt, match.groups()), choices=_choices(key))
            break
    return f"{key}: {said}" if key else said


def _spelt(word: str) -> str:
    """A type as people call it; a number with its thousands apart."""
    if re.fullmatch(r"\d+(\.\d+)?", word):
        return f"{float(word):,.15g}"
    return " or ".join(_TYPES.get(each, each) for each in word.removesuffix(" | null").split(" | "))


def _choices(key: str) -> str:
    """What may be chosen for a key, or for an entry of its list."""
    name = re.sub(r"\[\d+\]$", "", key).rpartition(".")[2]
    return ", ".join(filter(None, get_args(_CHOICES.get(name))))

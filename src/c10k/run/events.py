"""What workers say, and how a trial fails that they cannot drive to its end."""

from typing import Any

from ..model import Cause
from . import causes

Event = dict[str, Any]
Core = tuple[str, int]  # a host's name, "" for this one, and the number of its core


class ClientFailed(Exception):
    """The load could not be driven to its end; the message is the trial's reason.

    vanished: the name of the host that was gone, when that is why. cause: what it ran out of.
    """

    def __init__(self, reason: str, vanished: str = "", cause: Cause = "") -> None:
        super().__init__(reason)
        self.vanished = vanished
        self.cause = cause or causes.of_words(reason)

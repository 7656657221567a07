"""What workers say, and how a trial fails that they cannot drive to its end."""

from typing import Any

Event = dict[str, Any]
Core = tuple[str, int]  # a host's name, "" for this one, and the number of its core


class ClientFailed(Exception):
    """The load could not be driven to its end; the message is the trial's reason.

    vanished: the name of the host that was gone, when that is why.
    """

    def __init__(self, reason: str, vanished: str = "") -> None:
        super().__init__(reason)
        self.vanished = vanished

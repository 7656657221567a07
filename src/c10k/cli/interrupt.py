"""Ctrl-C, SIGTERM and SIGHUP end what runs, with everything cleaned up."""

import signal
import sys
from types import FrameType


class Interruptible:
    """SIGTERM and SIGHUP end what runs as Ctrl-C does: with everything cleaned up.

    None of the three is lost. Python drops an exception that is raised where there is no one
    to raise it to, in a hook at a fork or in a destructor; it then comes again soon after.
    """

    def __enter__(self) -> None:
        self.why = ""
        handlers = {
            signal.SIGTERM: self._raise,
            signal.SIGHUP: self._raise,
            signal.SIGALRM: self._again,
        }
        self.old = {number: signal.signal(number, each) for number, each in handlers.items()}
        self.hook = sys.unraisablehook
        sys.unraisablehook = self._dropped

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            # A second Ctrl-C must not cut off what is said of the first.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = self.hook
        for number, handler in self.old.items():
            signal.signal(number, handler)

    @staticmethod
    def _raise(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(f"ended by {signal.Signals(number).name}")

    def _again(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(self.why)

    def _dropped(self, dropped: "sys.UnraisableHookArgs") -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            self.why = str(dropped.exc_value)
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        else:
            self.hook(dropped)

"""Stopping at the end of a step when the system, or the user, asks the process to end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType
from typing import Any

from optimzoo.traces import Stopped

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Those that stop a run."""

USR1 = getattr(signal, "SIGUSR1", None)
"""The one that asks for a checkpoint, or, as a config may have it, stops the run to be queued again."""

REQUEUE = 75
"""The exit code of a run that is to be queued again (EX_TEMPFAIL of sysexits.h)."""


class StopSignals:
    """While entered, notes the first signal of ``SIGNALS`` instead of letting it end the process, and each SIGUSR1.

    The handlers from before are put back as soon as one arrives, so that a second signal acts at once; and on leaving.
    A signal that is ignored, as SIGINT by what a shell runs in the background, stays so, and a handler of the user's
    for SIGUSR1 does too. In a thread other than the main one, where Python allows no handlers, it does nothing.

    Args:
        requeue: Whether SIGUSR1 stops the run.

    Attributes:
        received: The signal that is to stop the run, or None.
        save: Whether a checkpoint was asked for.
    """

    def __init__(self, requeue: bool = False) -> None:
        self.requeue = requeue
        self.received: signal.Signals | None = None
        self.save = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        self.received, self.save = None, False
        self._process = os.getpid()
        if threading.current_thread() is threading.main_thread():
            handled = [number for number in SIGNALS if signal.getsignal(number) not in (None, signal.SIG_IGN)]
            if USR1 is not None and signal.getsignal(USR1) is signal.SIG_DFL:
                handled.append(USR1)
            self._before = {number: signal.signal(number, self._note) for number in handled}
        return self

    def __exit__(self, *_: object) -> None:
        while self._before:
            signal.signal(*self._before.popitem())
        self.received, self.save = None, False

    @property
    def asked(self) -> int:
        """The number of the signal that is to be acted on, or 0."""
        return self.received or (USR1 if self.save and USR1 is not None else 0)

    def act(self, asked: int) -> bool:
        """Take the signal that one of the processes has got, and return whether the run is to stop."""
        stops = asked != USR1 or self.requeue
        self.save = False
        if stops:
            self.received = signal.Signals(asked)
        return stops

    def raise_received(self) -> None:
        """End the program as the signal would have.

        Raises:
            KeyboardInterrupt: It was SIGINT.
            SystemExit: It was another; the exit code is ``REQUEUE`` for SIGUSR1, else 128 and its number.
        """
        if self.received is signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is not None:
            raise Stopped(REQUEUE if self.received == USR1 else 128 + self.received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == USR1:
            self.save = not self.requeue
            self.received = signal.Signals(number) if self.requeue else self.received
            follows = "stopping after this step, with" if self.requeue else "after this step follows"
            self._say(f"SIGUSR1: {follows} a checkpoint")
            return
        self.__exit__()
        self.received = signal.Signals(number)
        if hasattr(signal, "SIGCHLD"):  # a signal to all processes ends the workers of a data loader, of which torch
            self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # would raise in mid-step
        self._say(f"{self.received.name}: stopping after this step, with a checkpoint; once more stops at once")

    def _say(self, message: str) -> None:
        # A worker of a data loader that was forked has the handler too, and so have the other processes of the run.
        if os.getpid() == self._process and os.environ.get("RANK", "0") == "0":
            with contextlib.suppress(OSError):
                os.write(2, f"\n{message}\n".encode())  # print may be in the middle of a line that it buffers

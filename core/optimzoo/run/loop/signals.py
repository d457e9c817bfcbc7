"""Stopping at the end of a step when the system, or the user, asks the process to end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """While entered, notes the first SIGINT or SIGTERM instead of letting it end the process.

    The handlers from before are put back as soon as one arrives, so that a second signal acts at once; and on leaving.
    A signal that is ignored, as SIGINT by what a shell runs in the background, stays so. In a thread other than the
    main one, where Python allows no handlers, it does nothing.

    Attributes:
        received: The signal that arrived, or None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        self.received = None
        self._process = os.getpid()
        if threading.current_thread() is threading.main_thread():
            handled = [number for number in SIGNALS if signal.getsignal(number) not in (None, signal.SIG_IGN)]
            self._before = {number: signal.signal(number, self._note) for number in handled}
        return self

    def __exit__(self, *_: object) -> None:
        while self._before:
            signal.signal(*self._before.popitem())
        self.received = None

    def raise_received(self) -> None:
        """End the program as the signal would have.

        Raises:
            KeyboardInterrupt: It was SIGINT.
            SystemExit: It was another; the exit code is 128 and its number.
        """
        if self.received is signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is not None:
            raise SystemExit(128 + self.received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.__exit__()
        self.received = signal.Signals(number)
        if hasattr(signal, "SIGCHLD"):  # a signal to all processes ends the workers of a data loader, of which torch
            self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # would raise in mid-step
        # A worker of a data loader that was forked has the handler too, and so have the other processes of the run.
        if os.getpid() == self._process and os.environ.get("RANK", "0") == "0":
            message = f"\n{self.received.name}: stopping after this step, with a checkpoint; once more stops at once\n"
            with contextlib.suppress(OSError):
                os.write(2, message.encode())  # print may be in the middle of a line that it buffers

"""How a process ended, in words."""

from __future__ import annotations

import signal


def signal_name(number: int) -> str:
    """ "SIGKILL"; real-time signals have no names of their own but the first and the last."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def ending_signal(exit_code: int) -> str | None:
    """The name of the signal that ended a process; None if it exited. `exit_code` as `subprocess` gives it."""
    return signal_name(-exit_code) if exit_code < 0 else None


def how_it_ended(exit_code: int) -> str:
    """ "was ended by SIGKILL", "exited with code 1": to follow what the process is."""
    name = ending_signal(exit_code)
    return f"was ended by {name}" if name else f"exited with code {exit_code}"

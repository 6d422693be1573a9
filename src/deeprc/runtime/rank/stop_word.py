"""A rank's ear while it is at a task: its agent may say that the run stops."""

from __future__ import annotations

from typing import Any

from deeprc.runtime.link.channel import RankChannel
from deeprc.runtime.link.messages import StopSoon


class StopWord:
    """Whether the task at hand has been told to stop. Nothing else comes over the channel once the task runs."""

    def __init__(self, channel: RankChannel) -> None:
        self._channel = channel
        self._told = False

    def is_told(self) -> bool:
        """Looks whether word has come; a few microseconds."""
        if not self._told and self._channel.has_more():
            try:
                self.receive(waiting=False)
            except EOFError:
                # The agent is gone, and this process will be in a moment.
                self._told = True
        return self._told

    def receive(self, *, waiting: bool = True) -> Any:
        """The next message that is not about stopping."""
        while True:
            message = self._channel.receive()
            if not isinstance(message, StopSoon):
                return message
            self._told = True
            if not waiting:
                return None

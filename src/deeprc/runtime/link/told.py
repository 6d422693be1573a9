"""Functions sent once over a channel: later tasks name them by the hash of their content."""

from __future__ import annotations

from deeprc.runtime.link.messages import PickledFunction


class Told:
    """What the other end of a channel has been told, by key. Both ends count alike, so both forget alike."""

    _MOST = 256

    def __init__(self) -> None:
        self._functions: dict[bytes, PickledFunction] = {}

    def shortened(self, function: PickledFunction) -> PickledFunction:
        """The function to send: its key alone, if the other end has the rest."""
        if function.key is None:
            return function
        short: PickledFunction | None = self._functions.get(function.key)
        if short is not None:
            return short
        self._keep(function.key, PickledFunction(function.key, None, function.reusable))
        return function

    def completed(self, function: PickledFunction) -> PickledFunction:
        """The function that came, with what it lacks."""
        if function.key is None:
            return function
        if function.payload is None:
            return self._functions[function.key]
        self._keep(function.key, function)
        return function

    def _keep(self, key: bytes, value: PickledFunction) -> None:
        if len(self._functions) >= self._MOST:
            self._functions.clear()
        self._functions[key] = value

"""A torch.distributed store over TCP in which nobody but a task's ranks can leave anything that they believe.

torch's TCP store asks nobody who he is: whoever reaches its port reads and writes. Ranks find each other by the
addresses in it, and then unpickle what comes from there; so here each value carries a MAC under the task's secret. Who
has no secret can still remove or spoil values, which ends the task's rendezvous with an error.
"""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import Any

from torch._C._distributed_c10d import Store

from deeprc.errors import CommunicatorError

_MAC_BYTES = 32


def mac(secret: bytes, *parts: str | bytes) -> bytes:
    """HMAC-SHA256 of parts; no two lists of parts have the same text."""
    text = b"".join(
        len(part).to_bytes(8, "little") + part
        for part in (part.encode() if isinstance(part, str) else part for part in parts)
    )
    return hmac.digest(secret, text, "sha256")


class SealedStore(Store):
    """Wraps `store`, one that ranks with the same `secret` share."""

    def __init__(self, store: Any, secret: bytes) -> None:
        super().__init__()
        self._store = store
        self._secret = secret

    def set(self, key: str, value: str | bytes) -> None:
        self._store.set(self._name(key), self._sealed(key, value))

    def get(self, key: str) -> bytes:
        return self._opened(key, self._store.get(self._name(key)))

    def compare_set(self, key: str, expected: str | bytes, desired: str | bytes) -> bytes:
        before = self._sealed(key, expected) if expected else b""
        return self._opened(key, self._store.compare_set(self._name(key), before, self._sealed(key, desired)))

    def add(self, key: str, amount: int) -> int:
        # A counter, which the store itself adds to: no MAC could follow it, and no address is ever in one.
        return int(self._store.add(self._name(key), amount))

    def wait(self, keys: list[str], *timeout: timedelta) -> None:
        self._store.wait(list(map(self._name, keys)), *timeout)

    def check(self, keys: list[str]) -> bool:
        return bool(self._store.check(list(map(self._name, keys))))

    def delete_key(self, key: str) -> bool:
        return bool(self._store.delete_key(self._name(key)))

    def num_keys(self) -> int:
        return int(self._store.num_keys())

    def set_timeout(self, timeout: timedelta) -> None:
        self._store.set_timeout(timeout)

    @property
    def timeout(self) -> Any:
        return self._store.timeout

    def has_extended_api(self) -> bool:
        return False

    def _name(self, key: str) -> str:
        return mac(self._secret, "name", key).hex()

    def _sealed(self, key: str, value: str | bytes) -> bytes:
        content = value.encode() if isinstance(value, str) else bytes(value)
        return mac(self._secret, "value", key, content) + content

    def _opened(self, key: str, sealed: bytes) -> bytes:
        content = sealed[_MAC_BYTES:]
        if not hmac.compare_digest(sealed[:_MAC_BYTES], mac(self._secret, "value", key, content)):
            raise CommunicatorError(f"the store of this task holds a value for {key!r} that none of its ranks has set")
        return content

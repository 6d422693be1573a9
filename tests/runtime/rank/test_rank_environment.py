"""What ranks' libraries are told by their environment."""

from __future__ import annotations

import pytest

from deeprc.runtime.agent.zygote_process import rank_environment
from deeprc.runtime.link.messages import Profile


def test_the_allocator_has_an_arena_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fork memory is given back by arenas in use, and columns find freed ones' memory; the driver's own
    settings are overruled."""
    profile = Profile("tables", 3)
    monkeypatch.setenv("_RJEM_MALLOC_CONF", "dirty_decay_ms:500,muzzy_decay_ms:1000")
    settings = rank_environment(profile, {})["_RJEM_MALLOC_CONF"].split(",")
    assert settings[-3:] == ["narenas:3", "muzzy_decay_ms:0", "oversize_threshold:33554432"]


def test_settings_of_the_user_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of arenas, and small pages, can be asked for."""
    monkeypatch.setenv("_RJEM_MALLOC_CONF", "narenas:7")
    monkeypatch.setenv("POLARS_THP", "0")
    environment = rank_environment(Profile("tables", 3), {})
    assert (environment["_RJEM_MALLOC_CONF"], environment["POLARS_THP"]) == ("narenas:7", "0")

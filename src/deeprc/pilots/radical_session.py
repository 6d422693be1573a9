"""RADICAL-Pilot's own objects for one run: its session, a pilot, and one task for each agent.

As a program, `python -m deeprc.pilots.radical_session EVENTS`, it holds them in a process of their own:
RADICAL-Pilot takes signals, names processes, starts threads and may hang, none of which a user's interpreter
should feel. It reads one request from standard input and closes when that ends, after a word or, if who has started it
was killed, without one; events go to descriptor EVENTS.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeprc.pilots.leftovers import start_removal
from deeprc.pilots.radical_translation import Event, Site, agent_descriptions, machine_of, pilot_description

_CANCEL_LIMIT_S = 15.0
_ALONE_LIMIT_S = 60.0


@dataclass(frozen=True)
class Request:
    """What is asked of RADICAL-Pilot. Paths are absolute; `agent` is a command to which the agent's number is added."""

    site: Site
    nodes: int
    name: str
    sandbox: str
    logs: str
    agent: tuple[str, ...]


class RadicalRun:
    """The tasks of one run, and the pilot and managers that were made for it. What was handed in is left alone."""

    def __init__(self, tell: Callable[[Event], None], session: Any = None, task_manager: Any = None) -> None:
        self._tell = tell
        self._session = session
        self._task_manager = task_manager
        self._own_session = session is None and task_manager is None
        self._made: list[Any] = []
        self._pilot: Any = None
        self._agents: dict[str, int] = {}
        # RADICAL-Pilot knows a callback by its identity: a method is another object each time it is looked up.
        self._on_task, self._on_pilot = self._task_is, self._pilot_is

    def start(self, request: Request) -> None:
        """Submit the pilot and the agents; returns when RADICAL-Pilot has them, before they run."""
        import radical.pilot as rp

        if self._own_session:
            self._session = rp.Session()
        pilot = self._new_pilot(rp, request) if self._task_manager is None else self._task_manager.get_pilots()[0]
        described = pilot.description
        pilot.register_callback(self._on_pilot)
        self._pilot_is([pilot])
        config = pilot.session.get_resource_config(described["resource"], described.get("access_schema"))
        tasks = [
            rp.TaskDescription({**task, "uid": f"{request.name}.agent.{index}", "pilot": pilot.uid})
            for index, task in enumerate(
                agent_descriptions(machine_of(config), request.nodes, request.agent, request.logs)
            )
        ]
        self._agents = {task["uid"]: index for index, task in enumerate(tasks)}
        self._task_manager.register_callback(self._on_task)
        self._task_manager.submit_tasks(tasks)

    def _new_pilot(self, rp: Any, request: Request) -> Any:
        pilot_manager = rp.PilotManager(session=self._session)
        self._made.append(pilot_manager)
        self._task_manager = rp.TaskManager(session=self._session)
        self._made.append(self._task_manager)
        described = pilot_description(request.site, request.nodes, request.name, request.sandbox)
        self._pilot = pilot_manager.submit_pilots(rp.PilotDescription(described))
        self._task_manager.add_pilots(self._pilot)
        return self._pilot

    def close(self) -> None:
        """End the agents' tasks and all that was made; waits as long as RADICAL-Pilot takes."""
        if self._task_manager is not None and self._agents:
            self._task_manager.unregister_callback(self._on_task)
            self._task_manager.cancel_tasks(list(self._agents))
        if self._pilot is not None:
            # Closing RADICAL-Pilot ends the component that would end the pilot, and then waits for the pilot in vain.
            cancelling = threading.Thread(target=self._pilot.cancel, daemon=True)
            cancelling.start()
            cancelling.join(_CANCEL_LIMIT_S)
        if self._own_session:
            if self._session is not None:
                self._session.close(download=False)
            return
        for manager in reversed(self._made):
            manager.close()

    def _pilot_is(self, pilots: Any, *_: Any) -> None:
        for pilot in pilots if isinstance(pilots, list) else [pilots]:
            self._tell({"pilot": pilot.uid, "state": pilot.state, "sandbox": _path_of(pilot.pilot_sandbox)})

    def _task_is(self, task: Any, state: str, *_: Any) -> None:
        if task.uid in self._agents:
            self._tell({"agent": self._agents[task.uid], "state": state, "exit_code": task.exit_code})


def _path_of(url: Any) -> str | None:
    """The path of a `file://` sandbox."""
    from urllib.parse import urlsplit

    return urlsplit(str(url)).path if url else None


def main() -> None:
    events = os.fdopen(int(sys.argv[1]), "w", buffering=1)
    lock = threading.Lock()

    def tell(event: Event) -> None:
        try:
            with lock:
                events.write(json.dumps(dict(event)) + "\n")
        except BrokenPipeError:
            # Nobody listens any more: standard input has ended too.
            return

    asked = json.loads(sys.stdin.readline())
    run = RadicalRun(tell)
    try:
        run.start(Request(**{**asked, "site": Site(**asked["site"]), "agent": tuple(asked["agent"])}))
    except Exception as error:
        tell({"error": f"{type(error).__name__}: {error}"})
    if not sys.stdin.read():
        # Whoever would end what hangs, and remove the sandbox, has been killed: it says a word before it closes.
        start_removal(Path(asked["sandbox"]), after=os.getpid(), limit_s=_ALONE_LIMIT_S)
    try:
        run.close()
    except Exception:
        traceback.print_exc()
        os._exit(1)
    # Threads of RADICAL-Pilot may outlive its session and would keep this process for ever.
    os._exit(0)


if __name__ == "__main__":
    main()

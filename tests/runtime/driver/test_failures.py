"""From what an agent saw to what the user reads."""

from __future__ import annotations

import linecache
import time

import deeprc as rc
from deeprc.runtime.driver.failures import with_source
from deeprc.runtime.link.messages import Failure

TRACEBACK = """Traceback (most recent call last):
  File "/tmp/ipykernel_1/2.py", line 2, in bad
  File "/steps.py", line 1, in divide
    return 1 / 0
           ~~^~~
ZeroDivisionError: division by zero
"""


def test_lines_of_a_notebook_s_cells_are_added() -> None:
    """A rank cannot read a cell; the process that submitted it can. What is there already stays as it is."""
    linecache.cache["/tmp/ipykernel_1/2.py"] = (20, None, ["def bad():\n", "    divide()\n"], "/tmp/ipykernel_1/2.py")
    try:
        shown = with_source(Failure("raised", "no", 0, "localhost", traceback=TRACEBACK)).traceback
    finally:
        del linecache.cache["/tmp/ipykernel_1/2.py"]
    assert shown.splitlines() == [*TRACEBACK.splitlines()[:2], "    divide()", *TRACEBACK.splitlines()[2:]]


def test_a_cell_that_raises_is_shown_with_its_line(lasting: rc.Session) -> None:
    """As IPython does it: compiled from no file, with the source in linecache."""
    source = "def bad(x):\n    return x / 0\n"
    name = "/tmp/ipykernel_2/3.py"
    linecache.cache[name] = (len(source), time.time(), source.splitlines(keepends=True), name)
    namespace = {"__name__": "__main__"}
    exec(compile(source, name, "exec"), namespace)
    error = lasting.submit(namespace["bad"], 3).exception(60)
    assert f'  File "{name}", line 2, in bad\n    return x / 0\n' in str(error)

"""Run the blocks of one page in this process, in the working directory: `python -m tests.docs.run_page PAGE`."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.docs.pages import Block, blocks

LENIENT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run(page: Path) -> None:
    """Run a page from top to bottom; stops at the first block that fails.

    Raises:
        AssertionError: a block printed something else than the page says.
    """
    # As in a script: what is defined here reaches the ranks by value.
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page):
        if block.info.startswith("no-run"):
            continue
        if block.title is not None:
            Path(block.title).write_text(block.text)
        elif block.language == "python":
            printed = _python(block, page, namespace)
        elif (block.language, block.info) == ("bash", "run"):
            printed = _shell(block)
        elif block.language == "text" and block.info.startswith("output"):
            _compare(block, printed, page)


def _python(block: Block, page: Path, namespace: dict[str, Any]) -> str:
    # Empty lines first, so that tracebacks give the page's own line numbers.
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, namespace)
    return printed.getvalue()


def _shell(block: Block) -> str:
    done = subprocess.run(["bash", "-ec", block.text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"line {block.line}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def _compare(block: Block, printed: str, page: Path) -> None:
    expected, got = block.text, printed
    if block.info == "output, numbers vary":
        expected, got = (re.sub(r"\d+(\.\d+)?", "#", text) for text in (expected, got))
    if not doctest.OutputChecker().check_output(expected, got, LENIENT):
        raise AssertionError(f"{page}:{block.line}: the page says\n{block.text}\nand the block printed\n{printed}")


if __name__ == "__main__":
    run(Path(sys.argv[1]).absolute())

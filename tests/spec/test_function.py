from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest

from deeprc.errors import SpecError
from deeprc.spec import check_call, communicator_parameter, reference_to, resolve, with_communicator
from deeprc.spec.task import Backend, Resources
from tests.spec import steps


def test_a_module_s_function_is_found() -> None:
    """A reference and its function lead to each other."""
    assert resolve("tests.spec.steps:clean") is steps.clean
    assert reference_to(steps.clean) == "tests.spec.steps:clean"
    assert resolve("pathlib:Path.cwd")() == Path.cwd()


def test_a_file_s_function_is_found_beside_what_names_it(tmp_path: Path) -> None:
    """A file is relative to the given folder, may import its neighbours, and is read again once changed."""
    (tmp_path / "neighbour_of_my_steps.py").write_text("NUMBER = 20\n")
    file = tmp_path / "my_steps.py"
    file.write_text("from neighbour_of_my_steps import NUMBER\ndef add(x):\n    return x + NUMBER\n")
    add = resolve("my_steps.py:add", tmp_path)
    assert add(1) == 21
    assert resolve(f"{file}:add") is add
    file.write_text("def add(x):\n    return x - 1\n")
    assert resolve("my_steps.py:add", tmp_path)(1) == 0
    sys.path.remove(str(tmp_path))


def test_a_file_s_function_travels_without_its_file(tmp_path: Path) -> None:
    """A rank needs not find the file: the function is pickled by value."""
    (tmp_path / "steps.py").write_text("def double(x):\n    return 2 * x\n")
    pickled = cloudpickle.dumps(resolve("steps.py:double", tmp_path))
    (tmp_path / "steps.py").unlink()
    for name in [name for name in sys.modules if name.startswith("steps_")]:
        del sys.modules[name]
    sys.path.remove(str(tmp_path))
    assert cloudpickle.loads(pickled)(4) == 8


def test_a_script_s_own_functions_are_found_without_running_it_again(tmp_path: Path) -> None:
    """A function of the running script is named by its file; resolving it does not start the script anew."""
    script = tmp_path / "script.py"
    script.write_text(
        "from deeprc.spec import Pipeline, TaskSpec\n"
        "print('started')\n"
        "def double(x): return 2 * x\n"
        "pipeline = Pipeline(tasks=(TaskSpec.of('a', double, 2),))\n"
        "assert pipeline.functions()['a'] is double\n"
        "print(pipeline.task('a').function)\n"
    )
    printed = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == ["started", f"{script}:double"]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("clean", "no function reference: write 'package.module:function'"),
        (":clean", "no function reference"),
        ("tests.spec.steps:", "no function reference"),
        ("tests.spec steps:clean", "no module name"),
        ("tests.spec.stepz:clean", "no module.*Did you mean 'tests.spec.steps'"),
        ("nowhere_at_all:clean", "install it, or name a file"),
        ("tests.spec.steps:claen", "no function 'claen'.*Did you mean 'clean'.*Valid functions: .*fit"),
        ("tests.spec.steps:VERSION", "not a function but int"),
        ("nothing.py:clean", "no file .*nothing.py.*Valid files: bad.py, broken.py"),
        ("bad.py:clean", "raised ZeroDivisionError: .*bad.py, line 2"),
        ("broken.py:clean", "SyntaxError: .*broken.py, line 1"),
        ("needs.py:clean", "raised ModuleNotFoundError: No module named 'nowhere_at_all'"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(reference: str, message: str, tmp_path: Path) -> None:
    """A wrong reference is refused with the valid names, or with why it could not be imported."""
    (tmp_path / "bad.py").write_text("#\n1 / 0\n")
    (tmp_path / "broken.py").write_text("def\n")
    (tmp_path / "needs.py").write_text("import nowhere_at_all\n")
    with pytest.raises(SpecError, match=message):
        resolve(reference, tmp_path)
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


def test_the_communicator_is_found_by_its_annotation() -> None:
    """As an object, as text, as a name that only type checkers import, and as an optional one."""
    assert communicator_parameter(steps.clean) == "comm"
    assert communicator_parameter(steps.hinted) == "comm"
    assert communicator_parameter(steps.fit) is None
    assert communicator_parameter(print) is None
    with pytest.raises(SpecError, match=r"2 communicator parameters \(first, second\)"):
        communicator_parameter(steps.two)


def test_a_bare_comm_is_the_communicator() -> None:
    """Without an annotation, as in a lambda, the name `comm` is enough; with another the error says what to write."""
    assert communicator_parameter(steps.bare) == "comm"
    assert communicator_parameter(lambda rank, comm: comm) == "comm"
    assert communicator_parameter(lambda *comm: comm) is None
    check_call(steps.bare, (2,), {}, Resources(ranks=2))
    assert communicator_parameter(steps.of_mpi4py) is None
    with pytest.raises(SpecError, match=r"is missing 'comm'; .* write comm: rc\.Communicator"):
        check_call(steps.of_mpi4py, (), {"data": 1}, Resources())


def test_the_communicator_goes_where_the_function_takes_it() -> None:
    """Arguments by position keep their order around it."""
    assert with_communicator(steps.clean, "C", ("f",), {}) == (("C", "f"), {})
    assert with_communicator(steps.clean, "C", (), {"flights": "f"}) == (("C",), {"flights": "f"})
    assert with_communicator(steps.hinted, "C", (1,), {}) == ((1, "C"), {})
    assert with_communicator(steps.hinted, "C", (), {"data": 1}) == ((), {"data": 1, "comm": "C"})
    assert with_communicator(steps.fit, "C", (1, "m"), {}) == ((1, "m"), {})


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (steps.clean, ("f",), {"weather": "w"}),
        (steps.fit, (1,), {"model": "m", "rate": 0.1}),
        (steps.anything, (1, 2), {"x": 3}),
        (print, (1, 2), {}),
        (steps.hinted, (1,), {}),
    ],
)
def test_a_call_that_fits_passes(function: object, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    """Nothing is said of a call that fits."""
    check_call(function, args, kwargs, Resources())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "fit is missing 'data', 'model'"),
        ((1,), {}, "fit is missing 'model'"),
        ((1, 2, 3), {}, r"fit takes 2 \(data, model\) by position, got 3"),
        ((1,), {"modle": "m"}, "no parameter 'modle'. Did you mean 'model'. Valid parameters: data, model, rate"),
        ((1,), {"data": 2, "model": "m"}, "'data' of fit is given twice"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    args: tuple[object, ...], kwargs: dict[str, object], message: str
) -> None:
    """Unknown, missing and doubled parameters are refused with the valid ones."""
    with pytest.raises(SpecError, match=message):
        check_call(steps.fit, args, kwargs, Resources())


def test_the_communicator_is_not_the_user_s_to_give() -> None:
    """Passing it is refused."""
    with pytest.raises(SpecError, match="is the communicator"):
        check_call(steps.clean, ("f",), {"comm": 1}, Resources())


@pytest.mark.parametrize(
    ("function", "ranks", "comm", "refused"),
    [
        (steps.halve, 2, "auto", "takes no communicator"),
        (steps.halve, 2, "gloo", None),
        (steps.halve, 1, None, None),
        (steps.clean, 2, "auto", None),
        (steps.clean, 1, None, "needs a communicator"),
        (steps.hinted, 1, None, None),
    ],
)
def test_ranks_and_communicator_fit(function: object, ranks: int, comm: Backend | None, refused: str | None) -> None:
    """Several ranks need a communicator in the function, or a backend named for it to find."""
    resources = Resources(ranks=ranks, comm=comm)
    if refused is None:
        check_call(function, (2,), {}, resources)  # type: ignore[arg-type]
    else:
        with pytest.raises(SpecError, match=refused):
            check_call(function, (2,), {}, resources)  # type: ignore[arg-type]

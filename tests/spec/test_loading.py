from __future__ import annotations

import re
from pathlib import Path

import pytest

from deeprc.errors import SpecError
from deeprc.spec import Pipeline, SessionSpec, TaskRef, TaskSpec, dump_pipeline, load_pipeline
from tests.spec import steps

DEMO = """\
name: demo
session: {pilot: local, cores: 2, memory: 4GiB}
params:
  models: [NBEATS, NHITS]
  data: "${here}/data"
  rate: 1e-3
tasks:
  flights:
    run: tests.spec.steps:clean
    args: ["${data}/flights.csv"]
    with: {weather: weather.csv}
    ranks: 2
    comm: mpi
  fit-${model}:
    for: {model: "${models}"}
    run: tests.spec.steps:fit
    with: {data: {task: flights}, model: "${model}", rate: "${rate}"}
    retries: 1
    timeout: 10m
    memory: 2GiB
  best:
    run: tests.spec.steps:choose
    args: [{tasks: "fit-*"}]
"""


def load(tmp_path: Path, text: str, **params: object) -> Pipeline:
    (tmp_path / "file.yaml").write_text(text)
    return load_pipeline(tmp_path / "file.yaml", params)


def refusal(tmp_path: Path, text: str, **params: object) -> list[str]:
    """The lines of the error that loading `text` raises, file names without their folder."""
    with pytest.raises(SpecError) as caught:
        load(tmp_path, text, **params)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def test_yaml_and_python_make_the_same_pipeline(tmp_path: Path) -> None:
    """Parameters, loops and patterns are gone once loaded: what is left is what Python says, with one digest."""
    flights = TaskSpec.of(
        "flights", steps.clean, f"{tmp_path}/data/flights.csv", weather="weather.csv", ranks=2, comm="mpi"
    )
    fits = [
        TaskSpec.of(
            f"fit-{model}", steps.fit, data=flights, model=model, rate=0.001, retries=1, timeout="10m", memory="2GiB"
        )
        for model in ("NBEATS", "NHITS")
    ]
    best = TaskSpec.of("best", steps.choose, fits)
    session = SessionSpec(cores=2, memory_bytes="4GiB")
    python = Pipeline(name="demo", session=session, tasks=(flights, *fits, best))
    yaml = load(tmp_path, DEMO)
    assert yaml == python
    assert hash(yaml) == hash(python)
    assert yaml.digest() == python.digest()
    assert yaml.plain() == python.plain()


def test_parameters_are_replaced_with_their_types(tmp_path: Path) -> None:
    """A whole ${name} keeps its type; inside text it is written; $${ is a plain ${."""
    text = """\
params: {n: 24, models: [a, b], flag: true}
tasks:
  t:
    run: tests.spec.steps:anything
    args: ["${n}", "n=${n}", "$${n}", "${models}", "${flag}", "${here}"]
"""
    assert load(tmp_path, text).task("t").args == (24, "n=24", "${n}", ["a", "b"], True, str(tmp_path))
    assert load(tmp_path, text, n=48, models=[]).task("t").args[:4] == (48, "n=48", "${n}", [])


def test_a_loop_over_two_variables_makes_each_combination(tmp_path: Path) -> None:
    """The last variable turns fastest."""
    text = """\
tasks:
  ${model}-${horizon}:
    for: {model: [a, b], horizon: [12, 24]}
    run: tests.spec.steps:anything
    with: {h: "${horizon}"}
"""
    pipeline = load(tmp_path, text)
    assert [task.name for task in pipeline.tasks] == ["a-12", "a-24", "b-12", "b-24"]
    assert pipeline.task("b-24").kwargs == {"h": 24}


def test_scalars_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    """1e-3 is a number; no, dates, times and digits that start with zero are text."""
    text = """\
tasks:
  t:
    run: tests.spec.steps:anything
    args: [1e-3, .5, 0x10, -7, no, 2000-01-01, 1:30, 01547700, true, ~, .inf, !!str 5]
"""
    expected = (1e-3, 0.5, 16, -7, "no", "2000-01-01", "1:30", "01547700", True, None, float("inf"), "5")
    args = load(tmp_path, text).task("t").args
    assert args == expected
    assert [type(arg) for arg in args] == [type(arg) for arg in expected]


def test_a_function_in_a_file_is_beside_the_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the command is typed does not matter."""
    (tmp_path / "beside.py").write_text("def f(x): return x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    pipeline = load(tmp_path, "tasks: {t: {run: 'beside.py:f', args: [1]}}")
    assert pipeline.task("t").function == f"{tmp_path}/beside.py:f"
    assert pipeline.functions()["t"](3) == 3


def test_an_alias_stands_for_what_it_names(tmp_path: Path) -> None:
    """YAML's own anchors work."""
    text = """\
tasks:
  a: &same {run: "tests.spec.steps:halve", args: [2]}
  b: *same
"""
    pipeline = load(tmp_path, text)
    assert pipeline.task("a").args == pipeline.task("b").args == (2,)


def test_a_dumped_pipeline_loads_as_itself(tmp_path: Path) -> None:
    """dump_pipeline writes what load_pipeline reads, loops unrolled."""
    pipeline = load(tmp_path, DEMO)
    assert load(tmp_path, dump_pipeline(pipeline)) == pipeline
    assert TaskRef(task="fit-NHITS") in pipeline.task("best").args[0]


RUN = "run: tests.spec.steps:"
REFUSED = {
    "syntax": ("tasks:\n  a: {run: [\n  b: 1\n", 2, "bad YAML: while parsing a flow sequence"),
    "tab": ("tasks:\n\ta: 1\n", 2, "bad YAML: .*cannot start any token"),
    "unquoted": ("tasks:\n  a:\n    with: {m: ${model}}\n", 3, r'write "\$\{name\}" in quotes'),
    "empty": ("", 1, "pipeline: takes a mapping of fields, got None"),
    "no mapping": ("- a\n- b\n", 1, "takes a mapping"),
    "two documents": ("tasks: {}\n---\na: 1\n", 2, "single document"),
    "no tasks": ("name: x\n", 1, "tasks: takes a mapping of task names"),
    "unknown field": ("name: x\ntask:\n  a: 1\n", 2, "unknown field 'task' in pipeline. Did you mean 'tasks'"),
    "name": (f"name: a b\ntasks:\n  t: {{{RUN}halve, args: [2]}}\n", 1, "name: should be letters, digits, .*got 'a b'"),
    "session field": ("session:\n  pilot: local\n  core: 2\ntasks: {}\n", 3, "'core' in session. Did you mean 'cores'"),
    "session type": ("session:\n  cores: two\ntasks: {}\n", 2, "cores: should be a valid integer, .*got 'two'"),
    "session size": ("session:\n  memory: 2 bananas\ntasks: {}\n", 2, "memory: takes a size"),
    "pilot": (f"session:\n  pilot: locl\ntasks:\n  a:\n    {RUN}halve\n    args: [2]\n", 2, "Did you mean 'local'"),
    "task field": (f"tasks:\n  a:\n    {RUN}halve\n    rnks: 2\n", 4, "'rnks' in task. Did you mean 'ranks'"),
    "task is no mapping": ("tasks:\n  a: 5\n", 2, "task: takes a mapping of fields, got 5"),
    "no run": ("tasks:\n  a:\n    args: [1]\n", 2, "task 'a' needs run"),
    "wrong type": (f"tasks:\n  a:\n    {RUN}clean\n    args: [f]\n    ranks: many\n", 5, "task 'a': ranks: should be"),
    "comm": (f"tasks:\n  a:\n    {RUN}clean\n    comm: mpii\n", 4, "comm: should be 'auto', .*got 'mpii'"),
    "timeout": (f"tasks:\n  a:\n    {RUN}halve\n    timeout: soon\n", 4, "task 'a': timeout: takes a duration"),
    "args": (f"tasks:\n  a:\n    {RUN}halve\n    args: 2\n", 4, "args: takes a list, got 2"),
    "with": (f"tasks:\n  a:\n    {RUN}halve\n    with: [2]\n", 4, "with: takes a mapping"),
    "task name": (f"tasks:\n  a b:\n    {RUN}halve\n", 2, "task 'a b': name: should be letters"),
    "same key": (
        f"tasks:\n  a:\n    {RUN}halve\n    args: [2]\n  a:\n    {RUN}halve\n",
        5,
        r"'a' is given twice .*line 2",
    ),
    "number key": (
        f"tasks:\n  a:\n    {RUN}anything\n    with:\n      1: 2\n",
        5,
        "keys are text; write '1' in quotes",
    ),
    "ref": (f"tasks:\n  abc:\n    {RUN}halve\n    with:\n      number:\n        {{task: abd}}\n", 6, "no task 'abd'"),
    "pattern": (f"tasks:\n  a:\n    {RUN}halve\n    args:\n      - tasks: x-*\n", 5, "no task's name matches 'x-.'"),
    "cycle": (
        f"tasks:\n  a:\n    {RUN}halve\n    args: [{{task: b}}]\n  b:\n    {RUN}halve\n    args: [{{task: a}}]\n",
        (2, 5),
        "a needs b needs a|b needs a needs b",
    ),
    "module": ("tasks:\n  a:\n    args: [2]\n    run: tests.spec.stepz:halve\n", 4, "Did you mean 'tests.spec.steps'"),
    "function": ("tasks:\n  a:\n    args: [2]\n    run: tests.spec.steps:halv\n", 4, "task 'a': no function 'halv'"),
    "missing": (f"tasks:\n  a:\n    {RUN}fit\n    args: [2]\n", 3, "fit is missing 'model'"),
    "parameter": (f"tasks:\n  a:\n    {RUN}halve\n    with:\n      n: 2\n      number: 2\n", 5, "no parameter 'n'"),
    "own check": (f"tasks:\n  a:\n    {RUN}halve\n    args: [3]\n", 3, "task 'a': number has to be even"),
    "too many ranks": (
        f"session: {{cores: 2}}\ntasks:\n  a:\n    {RUN}clean\n    args: [f]\n    ranks: 3\n",
        6,
        "3 cores",
    ),
    "silent ranks": (f"tasks:\n  a:\n    {RUN}halve\n    args: [2]\n    ranks: 2\n", 5, "takes no communicator"),
    "no comm": (f"tasks:\n  a:\n    {RUN}clean\n    args: [f]\n    comm: null\n", 5, "needs a communicator"),
    "unknown name": (f"tasks:\n  a:\n    {RUN}halve\n    args:\n      - 1\n      - '${{x}}'\n", 6, r"unknown \$\{x\}"),
    "list in text": (f"params: {{x: [1]}}\ntasks:\n  a:\n    {RUN}halve\n    args: ['n${{x}}']\n", 5, "is a list"),
    "here": ("params:\n  here: 1\ntasks: {}\n", 2, "'here' is taken"),
    "loop is no list": (f"tasks:\n  a-${{m}}:\n    for: {{m: x}}\n    {RUN}halve\n", 3, "m takes a list"),
    "loop hides": (f"params: {{m: 1}}\ntasks:\n  a:\n    for: {{m: [1]}}\n    {RUN}halve\n", 4, "a parameter's name"),
    "loop without name": (
        f"tasks:\n  a:\n    for: {{m: [1, 2]}}\n    {RUN}halve\n    args: [2]\n",
        2,
        "2 tasks are named",
    ),
    "tag": (f"tasks:\n  a:\n    {RUN}halve\n    args: [!!python/name:os.system x]\n", 4, "tag .* is not allowed"),
    "binary": (f"tasks:\n  a:\n    {RUN}halve\n    args: [!!int x]\n", 4, "tag .* is not allowed"),
    "holds itself": (f"tasks:\n  a:\n    {RUN}halve\n    args: &x [*x]\n", 4, "holds itself"),
    "control": ("tasks:\n  a: \x07\n", 2, "a character that YAML does not allow"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_each_mistake_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    """Every error is 'file.yaml:LINE: what', and the line is the mistake's."""
    text, lines, message = REFUSED[case]
    told = refusal(tmp_path, text)
    prefixes = tuple(f"file.yaml:{line}: " for line in (lines if isinstance(lines, tuple) else (lines,)))
    assert any(line.startswith(prefixes) and re.search(message, line) for line in told), told


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """One reading names them all, in the order of their lines."""
    text = f"session: {{core: 2}}\ntasks:\n  a:\n    {RUN}halve\n    rank: 1\n    retries: x\n"
    text += f"  b: {{{RUN}clean, ranks: no}}\n"
    assert [line.split(":")[1] for line in refusal(tmp_path, text)] == ["1", "5", "6", "7"]


def test_a_loop_s_mistake_is_told_once(tmp_path: Path) -> None:
    """Tasks of one loop share their lines, and so their errors where they are the same."""
    text = f"tasks:\n  a-${{m}}:\n    for: {{m: [1, 2, 3]}}\n    {RUN}halve\n    rank: 1\n"
    assert len(refusal(tmp_path, text)) == 1


def test_only_the_file_s_parameters_can_be_set(tmp_path: Path) -> None:
    """A parameter that the file does not have is refused with those it has."""
    (line,) = refusal(tmp_path, DEMO, modles=[1])
    assert line == (
        "file.yaml:3: no parameter 'modles' to set. Did you mean 'models'? Valid parameters: data, models, rate."
    )


def test_what_can_not_be_read_is_refused(tmp_path: Path) -> None:
    """A file that is absent or no text is refused by name."""
    with pytest.raises(SpecError, match=r"absent.yaml: can't be read: No such file"):
        load_pipeline(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: x\n# caf\xe9\n")
    with pytest.raises(SpecError, match=r"latin.yaml:2: is not text in UTF-8"):
        load_pipeline(tmp_path / "latin.yaml")


def test_loading_without_a_check_imports_nothing(tmp_path: Path) -> None:
    """Functions may be unknown to the machine that reads the file."""
    (tmp_path / "file.yaml").write_text("tasks: {a: {run: 'nowhere_at_all:f'}}")
    assert load_pipeline(tmp_path / "file.yaml", check=False).task("a").function == "nowhere_at_all:f"


def test_whoever_runs_a_file_may_choose_the_session(tmp_path: Path) -> None:
    """A given field replaces the file's before anything is checked: another site's pilot, or more cores."""
    text = f"session: {{pilot: elsewhere, cores: 2, nodes: 1}}\ntasks: {{a: {{{RUN}clean, args: [f], ranks: 4}}}}\n"
    assert len(refusal(tmp_path, text)) == 1
    pipeline = load_pipeline(tmp_path / "file.yaml", session={"pilot": "local", "cores": 4, "gpus": None})
    assert pipeline.session == SessionSpec(pilot="local", cores=4, nodes=1)
    assert pipeline.in_session(cores=8).session.cores == 8
    with pytest.raises(SpecError, match="asks for 4 cores"):
        pipeline.in_session(cores=2)
    with pytest.raises(SpecError, match=r"no field 'core'\. Did you mean 'cores'"):
        pipeline.in_session(core=2)

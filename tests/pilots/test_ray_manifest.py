"""`deeprc manifest`: a RayJob that KubeRay and Kubernetes accept."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from deeprc.cli.main import app
from deeprc.errors import SpecError
from deeprc.pilots.ray_manifest import Site, ray_job
from deeprc.spec import Pipeline, SessionSpec, TaskSpec, load_pipeline

# The fields of ray.io/v1 with their types, after KubeRay's API reference; pods are checked against Kubernetes' own
# schema, and so may be anything here.
_NUMBER, _TEXT, _FLAG, _TEXTS, _POD = (int,), (str,), (bool,), ({str: (str,)},), (dict,)
_HEAD = {"serviceType": _TEXT, "enableIngress": _FLAG, "rayStartParams": _TEXTS, "template": _POD}
_WORKERS = {
    "groupName": _TEXT,
    "replicas": _NUMBER,
    "minReplicas": _NUMBER,
    "maxReplicas": _NUMBER,
    "numOfHosts": _NUMBER,
    "rayStartParams": _TEXTS,
    "template": _POD,
}
_CLUSTER = {
    "rayVersion": _TEXT,
    "enableInTreeAutoscaling": _FLAG,
    "suspend": _FLAG,
    "headGroupSpec": _HEAD,
    "workerGroupSpecs": [_WORKERS],
}
RAY_JOB = {
    "activeDeadlineSeconds": _NUMBER,
    "backoffLimit": _NUMBER,
    "entrypoint": _TEXT,
    "entrypointNumCpus": (int, float),
    "submissionMode": _TEXT,
    "shutdownAfterJobFinishes": _FLAG,
    "ttlSecondsAfterFinished": _NUMBER,
    "rayClusterSpec": _CLUSTER,
}
REQUIRED = {"headGroupSpec", "rayStartParams", "template", "groupName", "minReplicas", "maxReplicas"}


def problems(value: Any, schema: Any, at: str = "spec") -> list[str]:
    """What of a value the schema does not know, or knows as another type, or misses."""
    if isinstance(schema, list):
        return [problem for i, each in enumerate(value) for problem in problems(each, schema[0], f"{at}[{i}]")]
    if isinstance(schema, tuple):
        types = tuple(kind for kind in schema if isinstance(kind, type))
        maps = [kind for kind in schema if isinstance(kind, dict)]
        if maps:
            return [f"{at}.{key}: {each!r}" for key, each in value.items() if not isinstance(each, str)]
        wrong = not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
        return [f"{at}: {value!r}"] if wrong else []
    found = [f"{at}.{key}: unknown" for key in value if key not in schema]
    found += [f"{at}.{key}: missing" for key in schema if key in REQUIRED and key not in value]
    return found + [
        line for key, each in value.items() if key in schema for line in problems(each, schema[key], f"{at}.{key}")
    ]


def check_pod(template: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "checked"}, **template}
    kubernetes_validate.validate(pod, "1.30", strict=True)


@pytest.fixture
def pipeline_file(tmp_path: Path) -> Path:
    path = tmp_path / "rivers.yaml"
    path.write_text(
        "session: {nodes: 3, cores: 8, memory: 16GiB, gpus: 1}\n"
        "tasks:\n  sum:\n    run: builtins:sum\n    args: [[1, 2]]\n"
    )
    return path


def test_the_job_is_one_that_kuberay_takes(pipeline_file: Path) -> None:
    """Every field is known, has its type, and none that must be is missing; pods pass Kubernetes' schema."""
    loaded = load_pipeline(pipeline_file, session={"pilot": "ray"})
    config, job = ray_job(loaded, pipeline_file.read_text(), Site("lab/deeprc:1", "runs", "science", "2.60.0"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert problems(job["spec"], RAY_JOB) == []
    kubernetes_validate.validate(config, "1.30", strict=True)
    cluster = job["spec"]["rayClusterSpec"]
    check_pod(cluster["headGroupSpec"]["template"])
    (workers,) = cluster["workerGroupSpecs"]
    check_pod(workers["template"])
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"] == 3
    container = workers["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"cpu": "8", "memory": str(16 << 30), "nvidia.com/gpu": "1"}


def test_the_check_itself_finds_what_is_wrong() -> None:
    """An unknown field, a number where text belongs, and a missing field are each found."""
    wrong = {"backoffLimit": "0", "retries": 1, "rayClusterSpec": {"workerGroupSpecs": [{"rayStartParams": {"a": 1}}]}}
    found = "\n".join(problems(wrong, RAY_JOB))
    for line in ("spec.backoffLimit: '0'", "spec.retries: unknown", "headGroupSpec: missing", "rayStartParams.a: 1"):
        assert line in found
    with pytest.raises(kubernetes_validate.ValidationError):
        check_pod({"spec": {"containers": [{"name": "ray", "imag": "x"}]}})


def test_the_command_writes_what_kubectl_applies(pipeline_file: Path, tmp_path: Path) -> None:
    """Two YAML documents; the pipeline inside loads as the one that was given, on the ray pilot."""
    out = tmp_path / "job.yaml"
    options = ["--image", "lab/deeprc:1", "--claim", "runs", "--nodes", "2", "--out", str(out)]
    result = CliRunner().invoke(app, ["manifest", str(pipeline_file), *options])
    assert result.exit_code == 0, result.output
    config, job = yaml.safe_load_all(out.read_text())
    inside = tmp_path / "inside.yaml"
    inside.write_text(config["data"]["pipeline.yaml"])
    loaded = load_pipeline(inside)
    assert (loaded.session.pilot, loaded.session.nodes, loaded.session.cores) == ("ray", 2, 8)
    words = shlex.split(job["spec"]["entrypoint"])
    volumes = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert words[:2] == ["deeprc", "run"]
    assert str(Path(words[2]).parent) in {volume["mountPath"] for volume in volumes}
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize(
    ("session", "function", "name", "message"),
    [
        ({"memory_bytes": 1 << 30}, "builtins:abs", None, "--nodes and --cores"),
        ({"cores": 2, "nodes": 1}, "builtins:abs", None, "--memory"),
        ({"nodes": 1, "cores": 2, "memory_bytes": 1 << 30}, "builtins:abs", "Big_Run", "'Big_Run'"),
        ({"nodes": 1, "cores": 2, "memory_bytes": 1 << 30}, "steps.py:clean", None, "not in the image"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_here(
    session: dict[str, int], function: str, name: str | None, message: str
) -> None:
    """A session without sizes, a name it does not take, a function of a file: each with what to do."""
    pipeline = Pipeline(session=SessionSpec(pilot="ray", **session), tasks=(TaskSpec(name="one", function=function),))
    with pytest.raises(SpecError, match=message):
        ray_job(pipeline, "", Site("image", "claim"), name=name)

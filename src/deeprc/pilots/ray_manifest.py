"""A pipeline as a RayJob of KubeRay (ray.io/v1): what `kubectl apply` takes. Pure: plain data in, plain data out.

Fields as in KubeRay's API reference, https://ray-project.github.io/kuberay/reference/api/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from deeprc.errors import SpecError
from deeprc.spec import Pipeline
from deeprc.spec.pipeline import SessionSpec

_PIPELINE_DIRECTORY = "/etc/deeprc"
_RUNS = "/runs"
# RFC 1123, which Kubernetes asks of names; KubeRay appends to them, so they are kept short.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_HEAD_CORES, _HEAD_MEMORY = "1", "4Gi"


@dataclass(frozen=True)
class Site:
    """What the cluster provides.

    Args:
        image: with Deep RC, Ray and the pipeline's own functions installed.
        claim: a persistent volume claim that many nodes may write (ReadWriteMany); runs go there.
        namespace: None leaves it to kubectl.
        ray_version: of the image; None leaves it to KubeRay.
    """

    image: str
    claim: str
    namespace: str | None = None
    ray_version: str | None = None


def ray_job(pipeline: Pipeline, text: str, site: Site, *, name: str | None = None) -> list[dict[str, Any]]:
    """The documents to apply: a ConfigMap with the pipeline file, and the RayJob that runs it.

    Args:
        pipeline: its session says nodes, and cores, GPUs and memory of each.
        text: the pipeline as YAML.

    Raises:
        SpecError: a name Kubernetes does not take, a session that does not say its cores and memory, or a
            function in a file, which the image does not have.
    """
    _check_functions(pipeline)
    name = _checked_name(name or pipeline.name.lower().replace("_", "-").replace(".", "-"))
    session = _checked_session(pipeline.session)
    meta = {"name": name} | ({"namespace": site.namespace} if site.namespace else {})
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"pipeline.yaml": text}},
        {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": meta, "spec": _job(name, session, site)},
    ]


def as_text(documents: list[dict[str, Any]]) -> str:
    """The documents as one YAML stream."""
    return yaml.safe_dump_all(documents, sort_keys=False, default_flow_style=False)


def _job(name: str, session: SessionSpec, site: Site) -> dict[str, Any]:
    cores, memory = str(session.cores), str(session.memory_bytes)
    gpus = {"nvidia.com/gpu": str(session.gpus)} if session.gpus else {}
    cluster: dict[str, Any] = {"rayVersion": site.ray_version} if site.ray_version else {}
    cluster["headGroupSpec"] = {
        # The head runs the driver and no ranks.
        "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
        "template": _pod("ray-head", name, site, {"cpu": _HEAD_CORES, "memory": _HEAD_MEMORY}),
    }
    cluster["workerGroupSpecs"] = [
        {
            "groupName": "nodes",
            "replicas": session.nodes,
            "minReplicas": session.nodes,
            "maxReplicas": session.nodes,
            "rayStartParams": {"num-cpus": cores},
            "template": _pod("ray-worker", name, site, {"cpu": cores, "memory": memory, **gpus}),
        }
    ]
    return {
        "entrypoint": f"deeprc run {_PIPELINE_DIRECTORY}/pipeline.yaml --on ray",
        "submissionMode": "K8sJobMode",
        "shutdownAfterJobFinishes": True,
        "backoffLimit": 0,
        "rayClusterSpec": cluster,
    }


def _pod(container: str, name: str, site: Site, resources: dict[str, str]) -> dict[str, Any]:
    """Requests equal limits: ranks are pinned to cores, and memory they were promised must be there."""
    return {
        "spec": {
            "containers": [
                {
                    "name": container,
                    "image": site.image,
                    "env": [{"name": "DEEPRC_RUNS", "value": _RUNS}],
                    "resources": {"requests": resources, "limits": resources},
                    "volumeMounts": [
                        {"name": "runs", "mountPath": _RUNS},
                        {"name": "pipeline", "mountPath": _PIPELINE_DIRECTORY, "readOnly": True},
                        {"name": "shm", "mountPath": "/dev/shm"},
                    ],
                }
            ],
            "volumes": [
                {"name": "runs", "persistentVolumeClaim": {"claimName": site.claim}},
                {"name": "pipeline", "configMap": {"name": name}},
                # A container's own 64 MiB are too few for MPI and for Ray.
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
            ],
        }
    }


def _check_functions(pipeline: Pipeline) -> None:
    for task in pipeline.tasks:
        target = task.function.rpartition(":")[0]
        if target.endswith(".py"):
            raise SpecError(
                f"task {task.name!r} runs a function of the file {target}, which is not in the image; install it there "
                "as a module, and refer to it as 'package.module:function'"
            )


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise SpecError(
            f"{name!r} cannot name a RayJob: use at most 40 of a-z, 0-9 and '-', not '-' first or last; give --name"
        )
    return name


def _checked_session(session: SessionSpec) -> SessionSpec:
    words = {"nodes": "--nodes", "cores": "--cores", "memory_bytes": "--memory"}
    if missing := [option for field, option in words.items() if getattr(session, field) is None]:
        options = " and ".join(missing)
        raise SpecError(f"Kubernetes must be told how many nodes, of what size: give {options}, or say it in the file")
    return session

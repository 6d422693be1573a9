"""`deeprc manifest PIPELINE.yaml`"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer


def manifest(
    pipeline: Annotated[Path, typer.Argument(help="The pipeline, a YAML file.")],
    image: Annotated[str, typer.Option(help="Container image with Deep RC, Ray and the pipeline's functions.")],
    claim: Annotated[str, typer.Option(help="Persistent volume claim (ReadWriteMany) that runs are written to.")],
    name: Annotated[str | None, typer.Option(help="Name of the RayJob; default: the pipeline's.")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Worker pods; default: the file's.")] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="Cores of a node; default: the file's.")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs of a node; default: the file's.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory of a node, as 16GiB; default: the file's.")] = None,
    namespace: Annotated[str | None, typer.Option(help="Kubernetes namespace; default: kubectl's.")] = None,
    ray_version: Annotated[str | None, typer.Option(help="Ray of the image; default: the one installed.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; default: standard output.")] = None,
) -> None:
    """Write the RayJob (KubeRay) that runs a pipeline on Kubernetes: `deeprc manifest ... | kubectl apply -f -`.

    Functions of the pipeline are looked up in the image, not here.
    """
    from deeprc.cli.run import parse_settings
    from deeprc.journal import write_text
    from deeprc.pilots.ray_manifest import Site, as_text, ray_job
    from deeprc.spec import dump_pipeline, load_pipeline

    session = {"pilot": "ray", "nodes": nodes, "cores": cores, "gpus": gpus, "memory_bytes": memory}
    loaded = load_pipeline(pipeline, parse_settings(settings or []), session=session, check=False)
    site = Site(image, claim, namespace, ray_version or _installed_ray())
    text = as_text(ray_job(loaded, dump_pipeline(loaded), site, name=name))
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)


def _installed_ray() -> str | None:
    try:
        return version("ray")
    except PackageNotFoundError:
        return None

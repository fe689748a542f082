"""`myna evaluate`: models and peers on tasks, with intervals."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, unknown_name
from .compute import set_up_torch
from .output import print_json, progress_bar, say

if TYPE_CHECKING:
    from rich.progress import TaskID

    from ..evaluation.examples import Dataset
    from ..evaluation.peers import FeatureExtractor

# What runs on the music of `myna corpus`: name -> what is read of its folder.
_ON_CORPUS = ("composer", "package", "identification", "rendered-key", "rendered-tempo")


def evaluate(
    model: Annotated[
        list[str] | None, typer.Argument(help="Models: names or folders of checkpoints.")
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help=f"A task, repeatable: {', '.join(_ON_CORPUS)}, or one of `myna tasks list`."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for caches, scores and the report.")
    ] = Path("evaluation"),
    corpus: Annotated[
        Path | None, typer.Option(help="Folder of `myna corpus fetch` and `render`.")
    ] = None,
    root: Annotated[
        list[str] | None,
        typer.Option(help="Where a published data set lies: --root gtzan=DIR; repeatable."),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(help="Also mfcc, mel, chroma, untrained or musicnn; repeatable."),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(help="Also read each model as the mean of windows of so many seconds."),
    ] = None,
    grid: Annotated[str, typer.Option(help="Settings of the probe: full (216) or fast.")] = "full",
    seeds: Annotated[str, typer.Option(help="Seeds of the chosen probe, as 0,1,2.")] = "0",
    protocol: Annotated[
        str, typer.Option(help="castellon, or myna-compat: chosen on test, for comparison only.")
    ] = "castellon",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; PyTorch's choice by default.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Score models on tasks; prints a Markdown report, which is also in the folder."""
    if not task:
        raise ConfigError("task is not given; use e.g. --task composer --corpus DIR.")
    roots = dict(_root(text) for text in root or ())
    datasets = [dataset for name in task for dataset in _datasets(name, corpus, roots)]

    from ..evaluation.evaluate import Protocol
    from ..evaluation.evaluate import evaluate as run
    from ..evaluation.report import to_markdown
    from ..storage import atomic_write

    set_up_torch(threads)
    models = list(_models(model or [], peer or [], window))
    if not models:
        raise ConfigError("model is not given, nor a peer; name a model, or use --peer mfcc.")
    asked = Protocol.from_dict({"grid": grid, "seeds": _seeds(seeds), "name": protocol})
    with progress_bar() as bar:
        bars: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = bar.add_task(what, total=total, note="")
            bar.update(bars[what], completed=done, total=total)

        scores = run(models, datasets, out, protocol=asked, progress=progress)
    report = to_markdown(scores)
    with atomic_write(out / "report.md") as file:
        file.write(report.encode())
    for score in scores:
        for example, error in score.details["failed"].items():
            say(f"failed: {score.task}: {score.model}: {example}: {error}")
    if json:
        print_json([score.to_dict() for score in scores])
    else:
        typer.echo(report)


def _datasets(name: str, corpus: Path | None, roots: dict[str, Path]) -> Iterator["Dataset"]:
    from ..evaluation.tasks import TASKS, find_task

    if name in TASKS:
        if name not in roots:
            raise ConfigError(f"task={name!r} has no folder; use --root {name}=DIR.")
        yield find_task(name).load(roots[name])
        return
    if name not in _ON_CORPUS:
        raise ConfigError(unknown_name("task", name, [*_ON_CORPUS, *TASKS]))
    if corpus is None:
        raise ConfigError(
            f"task={name!r} needs --corpus DIR; make it with `myna corpus fetch DIR`."
        )
    from ..evaluation.corpus import (
        LENGTHS,
        composer_retrieval,
        identification,
        rendered_key,
        rendered_tempo,
    )

    match name:
        case "composer" | "package":
            yield composer_retrieval(corpus, by=name)
        case "identification":
            for seconds in LENGTHS:
                excerpts = identification(corpus, seconds=seconds)
                if excerpts.of_split("test"):  # else no track is that long
                    yield excerpts
        case "rendered-key":
            yield rendered_key(corpus)
        case "rendered-tempo":
            yield rendered_tempo(corpus)


def _models(
    models: list[str], peers: list[str], window: float | None
) -> Iterator["FeatureExtractor"]:
    from ..embedder import Windows
    from ..evaluation.peers import MynaExtractor, lookup_peer

    for name in models:
        whole = MynaExtractor(name)
        whole.name = name  # of a run, all folders are called "model"
        yield whole
        if window is not None:
            windows = MynaExtractor(name, context=Windows(window))
            windows.name = f"{name}, windows of {window:g} s"
            yield windows
    for name in peers:
        if name == "myna":
            raise ConfigError("peer='myna' is a model; name it before the options.")
        yield lookup_peer(name)()


def _root(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals:
        raise ConfigError(f"root={text!r} has no '='; write it as gtzan=DIR.")
    return name, Path(folder)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(seed) for seed in text.split(","))
    except ValueError as error:
        raise ConfigError(f"seeds={text!r} are not whole numbers; write them as 0,1,2.") from error

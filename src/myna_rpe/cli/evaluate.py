"""`myna evaluate`: models and peers on tasks, with intervals."""

from collections.abc import Iterator
from itertools import product
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


def evaluate(
    model: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models: names or folders of checkpoints; NAME=FOLDER: what the report calls it."
        ),
    ] = None,
    tasks: Annotated[
        str,
        typer.Option(
            metavar="A,B,...",
            help="On --corpus: composer, package, composer-probe, package-probe, identification, "
            "rendered-key, rendered-tempo, rendered-dance. On --root: see `myna tasks list`.",
        ),
    ] = "",
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
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Take an incomplete copy; the report says so.")
    ] = False,
    peers: Annotated[
        str,
        typer.Option(
            metavar="A,B,...",
            help="In the same table: mfcc, mel, chroma, untrained (of each model's size), musicnn; "
            "for keys also librosa, essentia (detectors) and notes (of the rendered scores).",
        ),
    ] = "",
    contexts: Annotated[
        str,
        typer.Option(
            metavar="A,B,...",
            help="How models read: track (one pass), or seconds (the mean of such windows).",
        ),
    ] = "track",
    lengths: Annotated[
        str,
        typer.Option(
            metavar="A,B,...",
            help="How much there is of each track: full; its middle so many seconds; or clips, as "
            "published (giantsteps), whose predictions are merged per track.",
        ),
    ] = "full",
    layers: Annotated[
        str,
        typer.Option(metavar="A,B,...", help="Read after which blocks: last, all, or numbers."),
    ] = "last",
    poolings: Annotated[
        str, typer.Option(metavar="A,B,...", help="Tokens -> embedding: trained, cls or mean.")
    ] = "trained",
    grid: Annotated[
        str, typer.Option(help="Settings of the probe: full (216), linear (108) or fast (12).")
    ] = "full",
    seeds: Annotated[
        str, typer.Option(metavar="A,B,...", help="Seeds of the chosen probe, as 0,1,2.")
    ] = "0",
    protocol: Annotated[
        str, typer.Option(help="castellon, or myna-compat: chosen on test, for comparison only.")
    ] = "castellon",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; PyTorch's choice by default.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Score models on tasks, and write a report: Markdown, HTML, JSON and plots.

    Interrupted, run it again: features and scores that are there are not computed twice.
    """
    from ..embedder import resolve_device
    from ..evaluation.catalogue import load_task
    from ..evaluation.evaluate import Protocol, best_spaces
    from ..evaluation.evaluate import evaluate as run
    from ..evaluation.report import write_report

    set_up_torch(threads)
    where = str(resolve_device(device))
    asked = Protocol.from_dict({"grid": grid, "seeds": _seeds(seeds), "name": protocol})
    folders = dict(_root(text) for text in root or ())
    datasets = [
        dataset
        for name in _items("tasks", tasks)
        for whole in load_task(name, corpus=corpus, roots=folders, allow_partial=allow_partial)
        for dataset in _cut(whole, _items("lengths", lengths))
    ]
    ways = (_items("contexts", contexts), _items("layers", layers), _items("poolings", poolings))
    models = [extractor for name in model or () for extractor in _readings(name, *ways, device)]
    models += _peers(peers.split(",") if peers else [], models, corpus)
    if not models:
        raise ConfigError("model is not given, nor a peer; name a model, or use --peers mfcc.")
    with progress_bar() as bar:
        bars: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = bar.add_task(what, total=total, note="")
            bar.update(bars[what], completed=done, total=total)

        scores = list(run(models, datasets, out, protocol=asked, device=where, progress=progress))
    for score in scores:
        for example, error in score.details["failed"].items():
            say(f"failed: {score.task}: {score.label}: {example}: {error}")
    report = write_report(scores, out, maps=best_spaces(scores, models, datasets, out))
    if json:
        print_json([score.to_dict() for score in scores])
    else:
        typer.echo(report.markdown.read_text("utf-8"))
        say(f"report: {report.html}")


# What is evaluated -------------------------------------------------------------------------------


def _cut(dataset: "Dataset", lengths: list[str]) -> Iterator["Dataset"]:
    from ..evaluation.examples import cut, cut_into_clips

    for length in lengths:
        if length == "full":
            yield dataset
        elif length == "clips":
            yield cut_into_clips(dataset)
        else:
            yield cut(dataset, _seconds("length", length, "full"))


# What evaluates ----------------------------------------------------------------------------------


def _readings(
    name: str, contexts: list[str], layers: list[str], poolings: list[str], device: str
) -> Iterator["FeatureExtractor"]:
    """Yield a model in every way it is to be read."""
    from ..embedder import load_model
    from ..evaluation.peers import MynaExtractor
    from ..evaluation.reading import Reading

    windows = [None if c == "track" else _seconds("context", c, "track") for c in contexts]
    pools = [None if pooling == "trained" else pooling for pooling in poolings]
    name, source = _named(name)
    model = load_model(source, device=device).model
    depth = model.architecture.model.depth
    blocks = [block for layer in layers for block in _blocks(layer, depth)]
    for window, layer, pooling in product(windows, blocks, pools):
        reading = Reading(window, layer, pooling)
        yield MynaExtractor(model, reading=reading, name=name, device=device)


def _blocks(layer: str, depth: int) -> list[int | None]:
    if layer == "last":
        return [None]
    if layer == "all":
        return [*range(1, depth), None]
    try:
        return [int(layer)]
    except ValueError as error:
        raise ConfigError(
            f"layers={layer!r} is no block; use last, all or numbers from 1 to {depth}."
        ) from error


def _peers(
    names: list[str], models: list["FeatureExtractor"], corpus: Path | None
) -> Iterator["FeatureExtractor"]:
    from ..evaluation.peers import KEY_DETECTORS, PEERS, NotesExtractor, UntrainedExtractor

    for name in names:
        if name == "notes":
            if corpus is None:
                raise ConfigError("peer='notes' needs --corpus DIR, where scores were rendered.")
            yield NotesExtractor(corpus)
        elif name == "untrained":
            yield from UntrainedExtractor.like(models)
        elif name in KEY_DETECTORS:
            yield KEY_DETECTORS[name]()
        elif name in PEERS:
            yield PEERS[name]()
        else:
            raise ConfigError(unknown_name("peer", name, [*PEERS, *KEY_DETECTORS, "notes"]))


# Text -> what it says ----------------------------------------------------------------------------


def _items(option: str, text: str) -> list[str]:
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items:
        raise ConfigError(f"{option} is not given; write it as --{option} A,B; see --help.")
    return list(dict.fromkeys(items))


def _named(text: str) -> tuple[str, str]:
    """Return what the report calls a model, and where it is."""
    name, equals, source = text.partition("=")
    return (name, source) if equals and name and not Path(text).exists() else (text, text)


def _root(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals:
        raise ConfigError(f"root={text!r} has no '='; write it as gtzan=DIR.")
    return name, Path(folder)


def _seconds(option: str, text: str, alternative: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(
            f"{option}={text!r} is neither {alternative} nor a number of seconds; "
            f"write it as {alternative},10."
        ) from error


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(seed) for seed in text.split(","))
    except ValueError as error:
        raise ConfigError(f"seeds={text!r} are not whole numbers; write them as 0,1,2.") from error

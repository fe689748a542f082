"""`myna pretrain`: shards -> a trained model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .compute import set_up_torch
from .output import progress_bar, say

if TYPE_CHECKING:
    from ..training import TrainProgress


def pretrain(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe; see `myna recipes list`.")],
    data: Annotated[Path, typer.Option(help="Folder of shards that `myna prepare` made.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting: --set optim.learning_rate=1e-3; repeatable."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's newest checkpoint.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; PyTorch's choice by default.")
    ] = None,
) -> None:
    """Pretrain a model on shards; prints the folder of the model on stdout."""
    from ..recipes import lookup_recipe

    config = lookup_recipe(recipe)().override(*(settings or ()))

    from ..training import train

    set_up_torch(threads)
    with progress_bar() as bar:
        task = bar.add_task(f"pretrain {recipe}", total=None, note="")

        def report(progress: "TrainProgress") -> None:
            note = (
                f"epoch {progress.epoch}  loss {progress.loss:.3f}  "
                f"{progress.excerpts_per_second:.0f} excerpts/s"
            )
            bar.update(task, completed=progress.step, total=progress.total_steps, note=note)

        model = train(config, data, out, resume=resume, device=device, report=report)
    say(f"trained: {model}")
    typer.echo(model)

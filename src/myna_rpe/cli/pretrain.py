"""`myna pretrain`: shards -> a trained model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..processes import is_first_process
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
    init: Annotated[
        str | None,
        typer.Option(
            help="Go on from this model's weights: a name or a folder; it replaces the "
            "recipe's architecture."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's newest checkpoint.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    devices: Annotated[
        int, typer.Option(min=1, help="Processes on this machine, one per GPU.")
    ] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines.")] = 1,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that read batches; 0: a thread.")
    ] = 0,
    wandb: Annotated[
        str | None, typer.Option(help="Also report to this project of Weights & Biases.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; PyTorch's choice by default.")
    ] = None,
) -> None:
    """Pretrain a model on shards; prints the folder of the model on stdout.

    Several processes: --devices 4, or torchrun --nproc-per-node 4 --no-python myna pretrain ...
    """
    from ..recipes import lookup_recipe

    config = lookup_recipe(recipe)()
    start = None
    if init is not None:
        from ..model.checkpoint import MynaModel, resolve_model

        start = MynaModel.load(resolve_model(init))
        config = config.with_(architecture=start.architecture, init=start.space_id)
    config = config.override(*(settings or ()))

    from ..training import Hardware, train

    set_up_torch(threads)
    with progress_bar() as bar:
        task = bar.add_task(f"pretrain {recipe}", total=None, note="")

        def report(progress: "TrainProgress") -> None:
            note = (
                f"epoch {progress.epoch}  loss {progress.loss:.3f}  "
                f"{progress.excerpts_per_second:.0f} excerpts/s"
            )
            if progress.validation_loss is not None:
                note += f"  held-out loss {progress.validation_loss:.3f}"
            bar.update(task, completed=progress.step, total=progress.total_steps, note=note)

        hardware = Hardware(device, devices, nodes, workers)
        model = train(
            *(config, data, out),
            init=start,
            resume=resume,
            hardware=hardware,
            wandb=wandb,
            report=report,
        )
    if is_first_process():
        say(f"trained: {model}")
        typer.echo(model)

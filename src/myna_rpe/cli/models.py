"""`myna models`: which models there are, and how they get here."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from .output import print_json, say

if TYPE_CHECKING:
    from ..model.checkpoint import MynaModel

app = typer.Typer(help="List, show, import, change and pull models.", no_args_is_help=True)

_COLUMNS = ("name", "kind", "parameters", "dim", "front_end", "positions", "space_id")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Force = Annotated[bool, typer.Option("--force", help="Replace another model of that name.")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the architecture presets, the package's own models and the installed ones."""
    from ..model.registry import list_models, models_folder

    records = [record.to_dict() for record in list_models()]
    if as_json:
        print_json(records)
        return
    rows = [_COLUMNS, *(tuple(_cell(record.get(key)) for key in _COLUMNS) for record in records)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
    for record in records:
        if record["error"] is not None:
            say(f"warning: {record['error']}")
    say(f"installed models lie in {models_folder()}")


@app.command("show")
def show(
    model: Annotated[str, typer.Argument(help="An installed model, a checkpoint, or a preset.")],
    as_json: Json = False,
) -> None:
    """Show one model: its settings, size, space id and provenance."""
    from ..model.registry import find_model

    record = find_model(model)
    facts = record.to_dict() | {
        "architecture": record.architecture.to_dict() if record.architecture else None,
        "provenance": record.provenance,
    }
    if as_json:
        print_json(facts)
        return
    for key, value in _leaves(facts):
        typer.echo(f"{key}: {value if isinstance(value, str) else json.dumps(value)}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Published weights: .safetensors, .pt or .pth.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the new checkpoint.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Install it under this name instead of in a folder.")
    ] = None,
    positions: Annotated[
        str | None,
        typer.Option(help="Myna-RPE: what it was trained with: 2d-alibi, 1d-alibi, sinusoidal."),
    ] = None,
    patch: Annotated[
        str | None, typer.Option(help="Myna: mel bands x frames of a patch: 16x16, 128x2.")
    ] = None,
    force: Force = False,
) -> None:
    """Turn published Myna or Myna-RPE weights into a checkpoint of this package."""
    from ..model.published import import_published
    from ..model.registry import installed_folder

    if (out is None) == (name is None):
        raise ConfigError(
            "destination is not clear; give either --out FOLDER or --name NAME, and not both."
        )
    folder = out if name is None else installed_folder(name)
    assert folder is not None
    _save(import_published(file, positions=positions, patch=patch), folder, "imported", force=force)


@app.command("untrained")
def untrained(
    architecture: Annotated[str, typer.Argument(help="A preset: see `myna models list`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new checkpoint.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the weights.")] = 0,
    force: Force = False,
) -> None:
    """Draw random weights, from which several trainings can start: see `myna models mean`."""
    from ..model.checkpoint import MynaModel

    _save(MynaModel.untrained(architecture, seed=seed), out, "drew", force=force)


@app.command("round")
def round_(
    model: Annotated[str, typer.Argument(help="A model's name, or a checkpoint.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new checkpoint.")],
    force: Force = False,
) -> None:
    """Round a model's weights to half precision: half the size, and a space of its own."""
    from ..model.checkpoint import MynaModel
    from ..model.registry import resolve_model

    _save(MynaModel.load(resolve_model(model)).rounded(), out, "rounded to", force=force)


@app.command("part")
def part(
    model: Annotated[str, typer.Argument(help="A model's name, or a checkpoint.")],
    patch: Annotated[str, typer.Argument(help="Mel bands x frames of a patch: 256x2.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new checkpoint.")],
    force: Force = False,
) -> None:
    """Keep one patch shape of a hybrid: its part of the embedding, at its share of the cost."""
    from ..model.checkpoint import MynaModel
    from ..model.registry import resolve_model

    _save(MynaModel.load(resolve_model(model)).part(patch), out, f"kept {patch} as", force=force)


@app.command("mean")
def mean(
    models: Annotated[list[str], typer.Argument(help="Two or more names, or checkpoints.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new checkpoint.")],
    force: Force = False,
) -> None:
    """Average the weights of trainings that started from the same ones, a "model soup"."""
    from ..model.checkpoint import MynaModel
    from ..model.registry import resolve_model

    loaded = [MynaModel.load(resolve_model(model)) for model in models]
    _save(MynaModel.mean(loaded), out, f"averaged {len(loaded)} models as", force=force)


@app.command("pull")
def pull(
    repo_id: Annotated[str, typer.Argument(help="owner/repository on the Hugging Face hub.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Name to install it under; default: the repository's.")
    ] = None,
    force: Force = False,
) -> None:
    """Download a checkpoint from the Hugging Face hub and install it."""
    from ..model import hub

    folder = hub.pull(repo_id, name=name, revision=revision, force=force)
    say(f"installed as {folder.name}")
    typer.echo(folder)


def _save(model: "MynaModel", folder: Path, done: str, *, force: bool) -> None:
    """Write a new checkpoint, over another model's only where told to; print its folder."""
    from ..model.registry import check_vacant

    space_id = model.space_id
    if not force:
        check_vacant(folder, space_id)
    model.save(folder)
    say(f"{done} {space_id}")
    typer.echo(folder)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, (list, tuple)):
        return "+".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _leaves(data: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return dotted keys and values of nested mappings, in order."""
    leaves: list[tuple[str, Any]] = []
    for key, value in data.items():
        if isinstance(value, dict):
            leaves += _leaves(value, f"{prefix}{key}.")
        else:
            leaves.append((f"{prefix}{key}", value))
    return leaves

"""`myna recipes`: what `myna pretrain` can be asked for."""

import inspect
from typing import Annotated

import typer

from ..recipes import RECIPES, lookup_recipe
from .output import print_json, say

app = typer.Typer(help="List and show pretraining recipes.", no_args_is_help=True)


@app.command("list")
def list_recipes() -> None:
    """List the recipes: name and purpose, one a line."""
    for name, recipe in RECIPES.items():
        purpose = (inspect.getdoc(recipe) or "").partition("\n")[0]
        typer.echo(f"{name}\t{purpose}")


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name of a recipe.")]) -> None:
    """Print a recipe's complete configuration as JSON (its science goes to stderr)."""
    recipe = lookup_recipe(name)
    say(inspect.getdoc(recipe) or "")
    print_json(recipe().to_dict())

"""The command `myna`: one thin file per command.

Data goes to stdout, everything else to stderr. A `MynaError` ends as one line and exit code 1
(the traceback with ``--debug``); Ctrl-C exits with 130, SIGTERM with 143, and every long job
resumes. Of several processes only the first one speaks.
"""

import sys
from typing import Annotated

import typer

from .. import __version__
from ..errors import MynaError
from ..processes import is_first_process
from . import (
    ablate,
    corpus,
    download,
    embed,
    evaluate,
    library,
    models,
    playlist,
    prepare,
    pretrain,
    recipes,
    report,
    similar,
    spotify,
    tasks,
)
from .output import say

# What Ctrl-C (by typer) and SIGTERM (by training) exit with.
_INTERRUPTED = (130, 143)

app = typer.Typer(
    name="myna",
    help="From a music file of any length to one vector, and from vectors to neighbours.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"myna {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """From a music file of any length to one vector, and from vectors to neighbours."""


app.command("embed")(embed.embed)
app.command("similar")(similar.similar)
app.command("prepare")(prepare.prepare)
app.command("pretrain")(pretrain.pretrain)
app.command("evaluate")(evaluate.evaluate)
app.command("ablate")(ablate.ablate)
app.add_typer(corpus.app, name="corpus")
app.add_typer(download.app, name="download")
app.add_typer(library.app, name="library")
app.add_typer(models.app, name="models")
app.add_typer(playlist.app, name="playlist")
app.add_typer(recipes.app, name="recipes")
app.add_typer(report.app, name="report")
app.add_typer(spotify.app, name="spotify")
app.add_typer(tasks.app, name="tasks")


def main() -> None:
    """Run the command line; the entry point of the `myna` script."""
    try:
        app()
    except MynaError as error:
        if "--debug" in sys.argv:
            raise
        if is_first_process():
            say(f"error: {error}", style="red")
        sys.exit(1)
    except SystemExit as leaving:
        if leaving.code in _INTERRUPTED and is_first_process():
            say("interrupted; run the same command again (pretrain: with --resume) to go on.")
        raise

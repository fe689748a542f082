"""Options that several commands share, one by one or as a whole."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..library.catalogue import Catalogue

Library = Annotated[
    Path | None,
    typer.Option(
        "--library",
        metavar="DIR",
        readable=False,
        help="Folder of the library; default: $MYNA_LIBRARY, else in the user's data folder.",
    ),
]


@contextmanager
def opened_library(folder: Path | None) -> "Iterator[Catalogue]":
    """Give the library of the option, open; None: the default one.

    Raises:
        LibraryError: there is none, or it cannot be used.
    """
    from ..library.catalogue import Catalogue, library_folder

    with Catalogue(folder or library_folder()) as catalogue:
        yield catalogue


def taking(
    shared: Callable[..., Any], name: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds the options of a function to a command.

    Args:
        shared: takes the options, and makes one value of them.
        name: of the command's parameter that gets the value.
    """
    theirs = dict(inspect.signature(shared).parameters)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = dict(inspect.signature(command).parameters)
        own.pop(name)

        @functools.wraps(command)
        def run(**given: Any) -> None:
            value = shared(**{option: given.pop(option) for option in theirs})
            command(**given, **{name: value})

        parameters = [*own.values(), *theirs.values()]
        keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
        # What typer reads; `functools.wraps` has copied those of the command.
        run.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in keywords}
        del run.__wrapped__
        return run

    return decorate

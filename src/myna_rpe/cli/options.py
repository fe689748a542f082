"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Library = Annotated[
    Path | None,
    typer.Option(
        "--library",
        metavar="DIR",
        readable=False,
        help="Folder of the library; default: $MYNA_LIBRARY, else in the user's data folder.",
    ),
]

"""From a music file of any length to one vector in one forward pass."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "list_models", "load_model"]

if TYPE_CHECKING:
    from .embedder import load_model
    from .model.checkpoint import list_models


def __getattr__(name: str) -> Any:
    # Imported on first use: torch takes a second that `myna --help` should not cost.
    if name == "load_model":
        from .embedder import load_model

        return load_model
    if name == "list_models":
        from .model.checkpoint import list_models

        return list_models
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""How a model is asked to read: in one pass or in windows, which layer, which pooling."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reading:
    """What may be varied about one model, each variation being a space of its own.

    Attributes:
        window: mean over windows of so many seconds; None: the whole track in one pass.
        layer: after this many blocks; None: after the last.
        pooling: "cls" or "mean"; None: as the model was trained.
    """

    window: float | None = None
    layer: int | None = None
    pooling: str | None = None

    def __str__(self) -> str:
        """Return what a report adds to the model's name: "" of the default.

        >>> str(Reading(window=8.192, layer=3))
        'windows of 8.192 s, layer 3'
        """
        parts = [
            f"windows of {self.window:.10g} s" if self.window is not None else "",
            f"layer {self.layer}" if self.layer is not None else "",
            f"{self.pooling} pooling" if self.pooling is not None else "",
        ]
        return ", ".join(part for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data; ``Reading(**data)`` of it is equal to this."""
        return {"window": self.window, "layer": self.layer, "pooling": self.pooling}

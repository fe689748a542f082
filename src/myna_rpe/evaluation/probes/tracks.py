"""Excerpts and their tracks: how the outputs of several excerpts become one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import TaskError
from ..examples import Kind

MERGES: dict[Kind, tuple[str, ...]] = {
    "classification": ("mean", "gmean", "max", "vote"),
    "key": ("mean", "gmean", "max", "vote"),
    "multilabel": ("mean", "max"),
    "regression": ("mean",),
}
"""How the outputs of several excerpts become one per track, chosen on validation.

``mean`` of probabilities (of values, in regression), ``gmean``: of logits, ``max``: of logits,
``vote``: share of excerpts. The first is taken among equals.
"""


@dataclass(frozen=True)
class Tracks:
    """Which examples belong to which track; tracks are in the order they first appear."""

    names: tuple[str, ...]
    place: Int[Tensor, " n"]
    first: Int[np.ndarray, " tracks"]  # an example of each

    @staticmethod
    def of(tracks: Sequence[str] | None, n: int) -> "Tracks":
        """Return the tracks of so many examples; None: each is a track."""
        names = [str(i) for i in range(n)] if tracks is None else list(tracks)
        if len(names) != n:
            raise TaskError(f"tracks={len(names)} do not fit {n} embeddings; give one for each.")
        order = {name: index for index, name in enumerate(dict.fromkeys(names))}
        place = np.array([order[name] for name in names], dtype=np.int64)
        _, first = np.unique(place, return_index=True)
        return Tracks(tuple(order), torch.from_numpy(place), first)

    def merges(self, kind: Kind) -> tuple[str, ...]:
        """Return the strategies that can differ."""
        return MERGES[kind] if len(self.names) < len(self.place) else MERGES[kind][:1]

    def labels(self, targets: np.ndarray) -> np.ndarray:
        """Return the targets of tracks.

        Raises:
            TaskError: the excerpts of a track differ in their labels.
        """
        merged: np.ndarray = targets[self.first]
        different = (merged[self.place.numpy()] != targets).reshape(len(targets), -1).any(axis=1)
        if different.any():
            name = self.names[int(self.place[int(different.argmax())])]
            raise TaskError(
                f"track={name!r} has excerpts with different labels, which cannot be merged; "
                "give its excerpts one label, or different tracks."
            )
        return merged

    def merge(
        self, kind: Kind, merge: str, logits: Float[Tensor, "*settings n classes"]
    ) -> Float[Tensor, "*settings tracks classes"]:
        """Return probabilities, or values, of tracks."""
        place = self.place.to(logits.device)
        if merge == "vote":
            votes = F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(logits)
            return self._mean(votes, place)
        if merge == "mean":
            return self._mean(activate(kind, logits), place)
        if merge == "gmean":
            return activate(kind, self._mean(logits, place))
        index = place[:, None].expand(logits.shape)
        highest = logits.new_zeros(*logits.shape[:-2], len(self.names), logits.shape[-1])
        highest.scatter_reduce_(-2, index, logits, "amax", include_self=False)
        return activate(kind, highest)

    def _mean(self, values: Tensor, place: Tensor) -> Tensor:
        if len(self.names) == len(place):
            return values  # place is 0, 1, 2, ...
        sums = values.new_zeros(*values.shape[:-2], len(self.names), values.shape[-1])
        counts = torch.bincount(place, minlength=len(self.names))[:, None]
        return sums.index_add_(-2, place, values) / counts


def activate(kind: Kind, logits: Tensor) -> Tensor:
    """Return probabilities; of regression, the values themselves."""
    if kind == "regression":
        return logits
    return logits.sigmoid() if kind == "multilabel" else logits.softmax(dim=-1)

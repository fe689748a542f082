"""Is the embedding space healthy? Numbers that show collapse, and a sentence that names its cause.

    alignment      mean |u - v|^2 over views u, v of one track; 0 is best
    separation     mean |u - v|^2 over tracks, of the same view; 2 where directions are independent
    uniformity     log mean exp(-2 |u - v|^2) over the same; 0 is one point, about -4 the whole
                   sphere in many dimensions
    effective_rank how many dimensions the vectors use: exp of the entropy of the singular values,
                   each divided by their sum; max_rank, the least of rows and dimensions, bounds it

All of them are of unit vectors, so that lengths do not matter. Singular values are taken without
centring, as in RankMe: vectors at one point then have rank 1, where centred ones would have the
rank of the noise around it.

Source: Wang & Isola 2020 (alignment with exponent 2, uniformity with t = 2); Roy & Vetterli 2007
(effective rank); Garrido et al. 2023 (RankMe).
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from .vectors import check_tracks, full_precision, unit, view_pairs

# Healthy runs keep well away from all three. A uniformity of -0.1 is a mean squared distance of
# 0.05 (a mean cosine of 0.975) between tracks; chance is an alignment equal to the separation.
COLLAPSED_UNIFORMITY = -0.1
UNFOUND_ALIGNMENT = 0.9  # times the separation
LOW_RANK = 0.05  # of the dimensions there could be, beyond the first


def alignment(projections: Float[Tensor, "batch views dim"]) -> Float[Tensor, ""]:
    """Return the mean squared distance between views of a track, 0 to 4."""
    pairs = view_pairs(unit(projections))
    return torch.stack([(u - v).square().sum(dim=1).mean() for u, v in pairs]).mean()


def separation(embeddings: Float[Tensor, "n dim"]) -> Float[Tensor, ""]:
    """Return the mean squared distance between different vectors, 0 to 4."""
    return torch.pdist(unit(embeddings)).square().mean()


def uniformity(embeddings: Float[Tensor, "n dim"]) -> Float[Tensor, ""]:
    """Return the log of the mean Gaussian potential (t = 2) of different vectors, at most 0."""
    return (-2 * torch.pdist(unit(embeddings)).square()).exp().mean().log()


def effective_rank(embeddings: Float[Tensor, "n dim"]) -> Float[Tensor, ""]:
    """Return the exponential of the entropy of the singular values, 1 to min(n, dim)."""
    values = torch.linalg.svdvals(unit(embeddings))
    rank: Tensor = torch.special.entr(values / values.sum()).sum().exp()
    return rank


def measure_health(projections: Float[Tensor, "batch views dim"]) -> dict[str, float]:
    """Return all of the module's numbers for a batch of tracks, each in two or more views.

    Separation and uniformity are means over the views, as Wang & Isola have them; the rank is that
    of all vectors together. Reading the numbers waits for the device.

    Raises:
        ConfigError: there is one view per track, or one track.
    """
    check_tracks(projections)
    with torch.no_grad(), full_precision(projections):
        views = projections.unbind(dim=1)
        vectors = projections.flatten(0, 1)
        return {
            "alignment": alignment(projections).item(),
            "separation": torch.stack([separation(view) for view in views]).mean().item(),
            "uniformity": torch.stack([uniformity(view) for view in views]).mean().item(),
            "effective_rank": effective_rank(vectors).item(),
            "max_rank": float(min(vectors.shape)),
        }


def diagnose(health: Mapping[str, float]) -> str | None:
    """Return what is wrong with an embedding space and what to do, or None where nothing is.

    Args:
        health: what `measure_health` returned. Untrained encoders look collapsed, so ask after the
            warm-up.

    Returns:
        One sentence, always the same one for the same cause; the first that holds of

        - uniformity above -0.1: all vectors are nearly equal;
        - alignment above 0.9 times the separation: views of a track are no closer than tracks;
        - effective rank below 1 + 0.05 (max_rank - 1): only few dimensions are used.
    """
    if health["uniformity"] > COLLAPSED_UNIFORMITY:
        return (
            "the embedding has collapsed (uniformity near 0): all tracks get nearly the same "
            "vector, as with too high a learning rate or too much attraction; lower "
            "optim.learning_rate or the weights of k_means, hull_combination and hull_pull."
        )
    if health["alignment"] > UNFOUND_ALIGNMENT * health["separation"]:
        return (
            "positives are not found (alignment near separation): the views of a track are no "
            "closer than different tracks, so they share too little or the encoder learns "
            "nothing; choose longer or overlapping views, drop fewer patches, or raise "
            "optim.learning_rate."
        )
    if health["effective_rank"] < 1 + LOW_RANK * (health["max_rank"] - 1):
        return (
            "few dimensions are used (effective rank far below max_rank): negatives are too easy "
            "or attraction is too strong; enlarge batch_size, lower the temperature, or add "
            "objectives.hull_spread."
        )
    return None

"""Does a hull find what belongs to a playlist? `python runs/compare_hulls.py CORPUS [--model M]`.

Each album (package) and each composer of the dev music (`myna corpus fetch`) with at least four
tracks is a playlist. Half of its members are held out, 20 times; all other tracks are ranked by
their distance to the rest, by each of three ways: the hull, the nearest member, the centroid, in
hull space (32 principal directions of the library, as `myna playlist` uses) and in the embeddings
themselves (scaled to length 1). AUC: how often a held-out member is before a stranger. P@10: the
share of the held out among the first ten, of as many as there could be. Intervals are 95 %
bootstraps over playlists; differences are paired.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from myna_rpe.evaluation.corpus import read_corpus
from myna_rpe.evaluation.examples import Example
from myna_rpe.evaluation.features import extract_features
from myna_rpe.evaluation.peers import MynaExtractor
from myna_rpe.evaluation.statistics import bootstrap, of_values, paired_bootstrap
from myna_rpe.geometry.baselines import RANKINGS
from myna_rpe.library.space import fit_space
from myna_rpe.model.registry import DEFAULT_MODEL

LEAST_MEMBERS, REPEATS, FIRST = 4, 20, 10


def main() -> None:
    """Print one table for albums and one for composers."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--out", type=Path, default=Path("evaluation"), help="cache of features")
    args = parser.parse_args()
    tracks = read_corpus(args.corpus)
    examples = [Example(it.path, args.corpus / it.path, it.composer) for it in tracks]
    features = extract_features(MynaExtractor(args.model), examples, args.out / "features")
    unit = features.values / np.linalg.norm(features.values, axis=1, keepdims=True)
    space = fit_space(np.arange(len(unit)), unit, space_id=features.space_id)
    row_of = {example.id: row for row, example in enumerate(features.examples)}
    for by in ("package", "composer"):
        playlists = defaultdict(list)
        for track in tracks:
            if getattr(track, by):
                playlists[getattr(track, by)].append(row_of[track.path])
        chosen = [rows for rows in playlists.values() if len(rows) >= LEAST_MEMBERS]
        count = sum(map(len, chosen))
        print(f"\n{by}: {len(chosen)} playlists of {count} tracks, among {len(unit)}\n")
        for name, points in (("hull space", space.project(unit)), ("embeddings", unit)):
            report(name, points.astype(np.float64), chosen)


def report(space: str, points: np.ndarray, playlists: list[list[int]]) -> None:
    """Print the values of each way of ranking, and by how much the hull differs."""
    outcomes = {name: [] for name in RANKINGS}
    for number, members in enumerate(playlists):
        rng = np.random.default_rng(number)
        draws = [rng.permutation(members) for _ in range(REPEATS)]
        for name, rank in RANKINGS.items():
            outcomes[name].append(np.mean([judged(points, rank, d) for d in draws], axis=0))
    print(f"| {space} | AUC | P@{FIRST} |\n|---|---|---|")
    values = {name: np.array(rows) for name, rows in outcomes.items()}  # (playlists, 2)
    for name, table in values.items():
        cells = [bootstrap(of_values(column), len(column)) for column in table.T]
        print(
            f"| {name} | "
            + " | ".join(f"{c.value:.3f} [{c.low:.3f}, {c.high:.3f}]" for c in cells)
            + " |"
        )
    for name in ("nearest member", "centroid"):
        pairs = zip(values["hull"].T, values[name].T, strict=True)
        cells = [paired_bootstrap(of_values(a), of_values(b), len(a)) for a, b in pairs]
        print(
            f"| hull minus {name} | "
            + " | ".join(f"{c.value:+.3f} [{c.low:+.3f}, {c.high:+.3f}]" for c in cells)
            + " |"
        )
    print()


def judged(points: np.ndarray, rank: object, order: np.ndarray) -> tuple[float, float]:
    """Return AUC and precision where the first half of a playlist is to find the second."""
    kept, out = order[: len(order) // 2], order[len(order) // 2 :]
    others = np.setdiff1d(np.arange(len(points)), kept)
    distances = rank(points[kept], points[others])
    ours = np.isin(others, out)
    less = (distances[ours][:, None] < distances[~ours]).mean()
    equal = (distances[ours][:, None] == distances[~ours]).mean()
    first = np.argsort(distances, kind="stable")[:FIRST]
    return less + equal / 2, ours[first].sum() / min(FIRST, len(out))


if __name__ == "__main__":
    main()

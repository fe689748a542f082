"""Does a hull find what belongs to a playlist? `python runs/compare_hulls.py CORPUS [--model M]`.

Each album (package) and each composer of the dev music (`myna corpus fetch`) with at least four
tracks is a playlist. Half of its members are held out, 200 times; all other tracks are ranked by
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
from myna_rpe.geometry.baselines import compare
from myna_rpe.library.space import fit_space
from myna_rpe.model.registry import DEFAULT_MODEL

LEAST_MEMBERS = 4


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
    rows = [np.array(playlist) for playlist in playlists]
    contest = compare(points, rows, rng=np.random.default_rng(0), draws=200)
    print(f"| {space} | AUC | P@10 |\n|---|---|---|")
    for name, standing in contest.items():
        cells = [
            bootstrap(of_values(column), len(column))
            for column in (standing.auc, standing.precision)
        ]
        print(row(name, cells, ".3f"))
    ours = contest["hull"]
    for name in ("nearest member", "centroid"):
        theirs = contest[name]
        cells = [
            paired_bootstrap(of_values(a), of_values(b), len(a))
            for a, b in ((ours.auc, theirs.auc), (ours.precision, theirs.precision))
        ]
        print(row(f"hull minus {name}", cells, "+.3f"))
    print()


def row(name: str, cells: list, form: str) -> str:
    """Return a row of a Markdown table."""
    texts = [f"{c.value:{form}} [{c.low:{form}}, {c.high:{form}}]" for c in cells]
    return f"| {name} | {' | '.join(texts)} |"


if __name__ == "__main__":
    main()

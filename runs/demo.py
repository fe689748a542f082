"""The whole line on a little real music, top to bottom: `make demo [MUSIC=folder]`.

1. music       MUSIC, or four freely licensed packages fetched with the system's package tool;
               the model was not trained on them
2. embeddings  myna embed, every track whole, with the weights that come with the package
3. neighbours  myna similar, for a track of each of a few albums
4. table       how often a track's nearest neighbour is of its album
5. map         demo/map.png

Everything is below demo/; a second run only does what is not done yet.
"""

import argparse
import shlex
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager
from sklearn.manifold import TSNE

from myna_rpe.embedding_table import EmbeddingTable
from myna_rpe.errors import TaskError
from myna_rpe.evaluation.corpus import PACKAGES, fetch_corpus

# 53 minutes of music, 245 MB to fetch; licences lie beside the music.
ALBUMS = (
    "freecol",
    "lincity-ng-data",
    "fretsonfire-songs-sectoid",
    "fretsonfire-songs-muldjord",
)

# The first has most scripts; the others, where installed, have the rest.
FONTS = ["DejaVu Sans", "Noto Sans CJK JP", "Hiragino Sans", "Yu Gothic", "Arial Unicode MS"]


def main() -> None:
    """Run all steps, each printed before it runs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--music", type=Path, help="a folder of your own music")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where results go")
    args = parser.parse_args()

    out: Path = args.out
    out.mkdir(parents=True, exist_ok=True)
    music = args.music or fetch_music(out / "music")

    step("Whole-track embeddings")
    table = out / "music.parquet"
    myna("embed", music, "-o", table)
    rows = EmbeddingTable.read(table).embedded
    paths = [row.path for row in rows]
    # A package is an album here; in anyone's own folder an album is the folder of its files.
    albums = [
        path.parent.name if args.music else path.relative_to(music).parts[0] for path in paths
    ]

    step("Nearest neighbours")
    for album in sorted(set(albums))[:3]:
        myna("similar", paths[albums.index(album)], "--in", table, "-k", 4)

    vectors = np.stack([row.embedding for row in rows])
    step("Does it hear the album?")
    print_precision(vectors, albums)
    draw_map(vectors, albums, out / "map.png")


def step(title: str) -> None:
    """Announce the next step."""
    print(f"\n\033[1m== {title}\033[0m", flush=True)


def myna(*arguments: object) -> None:
    """Run a command of the package, shown as one would type it."""
    words = [str(argument) for argument in arguments]
    print(f"$ myna {shlex.join(words)}", flush=True)
    subprocess.run([Path(sys.executable).parent / "myna", *words], check=True)


def fetch_music(folder: Path) -> Path:
    """Fetch and unpack the packages; no root, nothing is installed."""
    step("Music")
    try:
        fetch_corpus(
            folder,
            [PACKAGES[name] for name in ALBUMS],
            progress=lambda done, total, name: print(f"{done} of {total} packages {name}"),
        )
    except TaskError as error:
        sys.exit(f"{error} Or take your own music: make demo MUSIC=folder.")
    return folder


def print_precision(vectors: np.ndarray, albums: list[str]) -> None:
    """Print how often the cosine neighbour is of the album, its standard error, and chance."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    names, counts = np.array(albums), Counter(albums)
    # An album of one track has no neighbour to find.
    queries = [i for i, album in enumerate(albums) if counts[album] > 1]
    if not queries:
        print("no album has two tracks.")
        return
    hits = (names[similarity.argmax(axis=1)] == names)[queries]
    chance = sum(counts[albums[i]] - 1 for i in queries) / (len(queries) * (len(albums) - 1))
    print(
        f"{len(albums)} tracks, {len(counts)} albums: the nearest neighbour is of the same album "
        f"in {hits.mean():.0%} (+- {hits.std() / len(hits) ** 0.5:.0%}), by chance in {chance:.0%}."
    )
    print("Albums differ in mastering and codec as well as in music, which a model may use.")


def draw_map(vectors: np.ndarray, albums: list[str], path: Path) -> None:
    """Save a 2D map of the tracks, the ten largest albums in colour."""
    if len(vectors) < 5:
        return  # nothing to see
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    perplexity = min(12.0, (len(unit) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(unit)
    installed = {font.name for font in font_manager.fontManager.ttflist}
    plt.rcParams["font.family"] = [font for font in FONTS if font in installed]
    figure, axes = plt.subplots(figsize=(8, 6), layout="constrained")
    largest = [album for album, _ in Counter(albums).most_common(10)]
    for album in [*largest, None]:
        members = np.array([(name if name in largest else None) == album for name in albums])
        if members.any():
            colour = (
                {"label": album} if album is not None else {"label": "others", "color": "lightgrey"}
            )
            axes.scatter(*places[members].T, s=50, alpha=0.8, edgecolors="white", **colour)
    axes.set(title="Whole-track embeddings, t-SNE", xticks=[], yticks=[])
    axes.legend(loc="best", frameon=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that no installed font has is drawn as a box
        figure.savefig(path, dpi=150)
    print(f"\nmap: {path}")


if __name__ == "__main__":
    main()

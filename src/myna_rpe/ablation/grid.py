"""What an ablation varies: a TOML file -> `Grid` -> cells, each one complete run.

    data = "shards"
    [axes]                                        # every combination is a cell
    recipe = ["tiny"]
    positions = [                                 # a value that stands for settings has a name
      {name = "2D ALiBi", "architecture.model.positions" = [{name = "alibi-2d"}]},
      {name = "none", "architecture.model.positions" = []},
    ]
    "patchout.ratio" = [0.9, 0.5]                 # a setting by itself
    seed = [0, 1, 2]
    [set]                                         # the same in all cells
    "budget.max_steps" = 1500
    [evaluate]                                    # as the options of `myna evaluate`
    tasks = ["composer"]
    corpus = "corpus"

Settings are those of ``--set``, and a text is read as there: as JSON where it is (``"null"``).
Quotes around dotted keys may be left out: a table is the settings in it, unless it has a ``name``;
that replaces what was there as a whole.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field, PositiveFloat, PositiveInt

from ..config import Config, RunConfig
from ..errors import ConfigError, unknown_name
from ..recipes import lookup_recipe

RECIPE = "recipe"
SEED = "seed"

# The standard library has it from Python 3.11 on.
_toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


class Questions(Config):
    """What every model is asked; each is the option of `myna evaluate` of that name.

    ``peers`` are asked once, not per cell.
    """

    tasks: tuple[str, ...] = Field(min_length=1)
    corpus: str | None = None
    root: dict[str, str] = Field({})
    allow_partial: bool = False
    contexts: tuple[Literal["track"] | PositiveFloat, ...] = Field(("track",), min_length=1)
    lengths: tuple[Literal["full", "clips"] | PositiveFloat, ...] = Field(("full",), min_length=1)
    layers: tuple[Literal["last", "all"] | PositiveInt, ...] = Field(("last",), min_length=1)
    poolings: tuple[Literal["trained", "cls", "mean"], ...] = Field(("trained",), min_length=1)
    peers: tuple[str, ...] = ()
    grid: Literal["full", "linear", "fast"] = "full"
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    protocol: Literal["castellon", "myna-compat"] = "castellon"

    def options(self, *names: str) -> list[str]:
        """Return some of them, as the command line takes them."""
        words: list[str] = []
        for name in names:
            value = getattr(self, name)
            option = f"--{name.replace('_', '-')}"
            if isinstance(value, bool):
                words += [option] if value else []
            elif isinstance(value, dict):
                words += [
                    word for key, place in value.items() for word in (option, f"{key}={place}")
                ]
            elif isinstance(value, tuple):
                words += [option, ",".join(map(_plain, value))] if value else []
            elif value is not None:
                words += [option, value]
        return words


@dataclass(frozen=True)
class AxisValue:
    """One value of an axis: what a report calls it, and the settings it stands for."""

    label: str
    settings: Mapping[str, Any]


class Grid(Config):
    """A whole ablation; see the module."""

    data: str
    axes: dict[str, tuple[pydantic.JsonValue, ...]]
    set: dict[str, pydantic.JsonValue] = Field({})
    evaluate: Questions

    @pydantic.model_validator(mode="before")
    @classmethod
    def _flatten(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        for key in data:
            if key not in cls.model_fields:
                raise ConfigError(unknown_name("key", key, cls.model_fields))
        for key in ("data", "axes", "evaluate"):
            if key not in data:
                raise ConfigError(f"{key} is missing; a grid needs data, axes and evaluate.")
        axes, fixed = data.get("axes"), data.get("set")
        if isinstance(axes, dict):
            axes = _flat(axes)
            for axis, values in axes.items():
                if not isinstance(values, list | tuple) or not values:
                    raise ConfigError(
                        f"axes.{axis}={values!r} has no values; write a list of at least one."
                    )
        return data | {"axes": axes} | ({"set": _flat(fixed)} if isinstance(fixed, dict) else {})

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "Grid":
        if RECIPE not in self.axes:
            raise ConfigError('axes has no recipe; give at least one: recipe = ["tiny"].')
        fixed = dict.fromkeys(self.set, "set")
        for axis in self.axes:
            values = self.values_of(axis)
            _check_distinct(axis, values)
            keys = {key: f"axes.{axis}" for value in values for key in value.settings}
            for key in keys:
                lost = [old for old in fixed if old == key or old.startswith(f"{key}.")]
                if lost:
                    raise ConfigError(
                        f"axes.{axis} sets {key}, which overwrites {lost[0]} of {fixed[lost[0]]}; "
                        "set it in one place only."
                    )
            fixed |= keys
        return self

    def values_of(self, axis: str) -> list[AxisValue]:
        """Return the values of an axis.

        Raises:
            ConfigError: one of them is none.
        """
        return [_axis_value(axis, value) for value in self.axes[axis]]


@dataclass(frozen=True)
class Cell:
    """One run of the grid.

    Attributes:
        values: axis -> the value's label.
        recipe: where it starts from.
        settings: what is changed, each as ``--set`` takes it.
        config: the complete run they give.
    """

    values: Mapping[str, str]
    recipe: str
    settings: tuple[str, ...]
    config: RunConfig

    @property
    def id(self) -> str:
        """A short hash of what it trains, and of nothing else."""
        return hashlib.sha256(self.config.to_json().encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """Its values, for people."""
        return _name(self.values)

    @property
    def row(self) -> dict[str, str]:
        """Its values but the seed: cells of equal ones are the same thing, tried again."""
        return {axis: label for axis, label in self.values.items() if axis != SEED}


def read_grid(path: Path) -> Grid:
    """Return the grid that a TOML file describes.

    Raises:
        ConfigError: no such file, no TOML, or no grid.
    """
    try:
        data = _toml.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"grid={path} cannot be read: {error.strerror or error}; give a TOML file."
        ) from error
    except ValueError as error:  # not TOML, or not even text
        raise ConfigError(f"grid={path} is not TOML: {error}; mend it there.") from error
    try:
        return Grid.from_dict(data)
    except ConfigError as error:
        raise ConfigError(f"grid={path}: {error}") from error


def cells(grid: Grid) -> list[Cell]:
    """Return every combination of the axes, checked, in the order they are to run.

    The seed changes slowest: where an ablation ends early, all rows have been tried equally often.

    Raises:
        ConfigError: a combination that cannot be trained (it is named), or two that are the same.
    """
    found = list(_combinations(grid))
    seeds = [value.label for value in grid.values_of(SEED)] if SEED in grid.axes else [""]
    found.sort(key=lambda cell: seeds.index(cell.values.get(SEED, "")))
    first: dict[str, Cell] = {}
    for cell in found:
        if (same := first.setdefault(cell.id, cell)) is not cell:
            raise ConfigError(
                f"cells=({same.name}) and ({cell.name}) train the same model; "
                "let their settings differ, or leave one out."
            )
    return found


def _combinations(grid: Grid) -> Iterator[Cell]:
    axes = {axis: grid.values_of(axis) for axis in grid.axes}
    for chosen in product(*axes.values()):
        values = dict(zip(axes, (value.label for value in chosen), strict=True))
        settings = dict(grid.set)
        for axis, value in zip(axes, chosen, strict=True):
            if axis != RECIPE:
                settings |= value.settings
        words = tuple(f"{key}={_text(value)}" for key, value in settings.items())
        try:
            config = lookup_recipe(values[RECIPE])().override(*words)
        except ConfigError as error:
            raise ConfigError(f"{_name(values)}: {error}") from error
        yield Cell(values, values[RECIPE], words, config)


# TOML -> values ----------------------------------------------------------------------------------


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the settings of a table by dotted keys; a table that has a name is a value."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict) and value and "name" not in value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _axis_value(axis: str, value: Any) -> AxisValue:
    if not isinstance(value, dict):
        if axis == RECIPE and not isinstance(value, str):
            raise ConfigError(f"axes.recipe={value!r} is no name; see `myna recipes list`.")
        return AxisValue(_text(value), {axis: value})
    if axis in (RECIPE, SEED):
        raise ConfigError(f"axes.{axis}={value!r} is a table; write the {axis} alone.")
    name = value.get("name")
    if not isinstance(name, str):
        raise ConfigError(
            f'axes.{axis}={value!r} has no name; write it as {{name = "x", "a.b" = 1}}.'
        )
    settings = _flat({key: inner for key, inner in value.items() if key != "name"})
    return AxisValue(name, settings)


def _check_distinct(axis: str, values: Sequence[AxisValue]) -> None:
    for place, value in enumerate(values):
        for other in values[:place]:
            if other.label == value.label or other.settings == value.settings:
                same = "" if other.label == value.label else f" and {value.label!r}"
                raise ConfigError(
                    f"axes.{axis} holds {other.label!r}{same} twice; name each value once."
                )


def _text(value: Any) -> str:
    """Return a value as ``--set`` takes it: text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _plain(value: str | int | float) -> str:
    return value if isinstance(value, str) else f"{value:.10g}"


def _name(values: Mapping[str, str]) -> str:
    return ", ".join(f"{axis}={label}" for axis, label in values.items())

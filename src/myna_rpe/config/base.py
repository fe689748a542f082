"""What every configuration is: frozen, strict, and one sentence when it is wrong."""

import json
from typing import Any, TypeVar

import pydantic

from ..errors import ConfigError, unknown_name

ConfigT = TypeVar("ConfigT", bound="Config")


class Config(pydantic.BaseModel):
    """Base of all configurations: frozen, strict about keys, errors as one sentence."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except pydantic.ValidationError as error:
            raise ConfigError(_sentence(type(self), error)) from error

    @classmethod
    def from_dict(cls: type[ConfigT], data: object) -> ConfigT:
        """Return the configuration a plain mapping describes.

        Raises:
            ConfigError: an unknown key, a wrong type or an impossible combination.
        """
        try:
            return cls.model_validate(data)
        except pydantic.ValidationError as error:
            raise ConfigError(_sentence(cls, error)) from error

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-compatible data; ``from_dict`` of it is equal to this."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no spaces. Equal configurations give equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    def with_(self: ConfigT, **changes: Any) -> ConfigT:
        """Return a copy with some fields replaced, validated as a new one is.

        Raises:
            ConfigError: as in `from_dict`.
        """
        return type(self)(
            **{name: getattr(self, name) for name in type(self).model_fields} | changes
        )

    def override(self: ConfigT, *assignments: str) -> ConfigT:
        """Return a copy with dotted settings replaced.

        Args:
            assignments: ``"a.b=value"``; the value is read as JSON, else taken as text. A node that
                is null is made with its defaults where something inside it is set.

        Raises:
            ConfigError: a key that does not exist (the valid keys are listed) or a bad value.

        >>> FrontEndConfig().override("n_mels=64").n_mels
        64
        """
        data = self.to_dict()
        for assignment in assignments:
            path, equals, text = assignment.partition("=")
            if not equals:
                raise ConfigError(f"setting={assignment!r} has no '='; write it as a.b=value.")
            try:
                value = json.loads(text)
            except ValueError:
                value = text
            keys = path.strip().split(".")
            for depth in range(1, len(keys)):
                node = _node(data, keys[:depth], path)
                if node[keys[depth - 1]] is None:
                    node[keys[depth - 1]] = {}
                    data = self._filled(data)
            _node(data, keys, path)[keys[-1]] = value
            if isinstance(value, dict):
                data = self._filled(data)
        return type(self).from_dict(data)

    def _filled(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return `data` with its defaults, or as it is while it is not valid yet."""
        try:
            return type(self).from_dict(data).to_dict()
        except ConfigError:
            return data


def _sentence(cls: type[Config], error: pydantic.ValidationError) -> str:
    first = error.errors()[0]
    location = ".".join(str(part) for part in first["loc"]) or cls.__name__
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        return str(cause)
    if first["type"] == "extra_forbidden":
        return unknown_name(f"{cls.__name__}: key", location, cls.model_fields)
    if first["type"] == "union_tag_invalid":
        valid = [name.strip(" '") for name in first["ctx"]["expected_tags"].split(",")]
        return unknown_name(f"{location}.name", first["ctx"]["tag"], valid)
    message = first["msg"].removeprefix("Value error, ")
    return f"{location}={first['input']!r} is not valid for {cls.__name__}: {message}."


def _node(data: dict[str, Any], keys: list[str], path: str) -> dict[str, Any]:
    """Return the node that holds the last of the keys."""
    node: Any = data
    for depth, key in enumerate(keys, start=1):
        if not isinstance(node, dict) or key not in node:
            valid = sorted(node) if isinstance(node, dict) else []
            raise ConfigError(unknown_name(f"setting {path!r}: key", key, valid))
        if depth < len(keys):
            node = node[key]
    holder: dict[str, Any] = node
    return holder


def differences(left: Config, right: Config) -> dict[str, tuple[Any, Any]]:
    """Return the settings in which two configurations differ, by dotted name.

    >>> differences(FRONT_ENDS["rpe-16k"], FRONT_ENDS["myna-16k"])
    {'pad_mode': ('constant', 'reflect'), 'scale': ('power_to_db', 'power')}
    """
    flat_left, flat_right = _flat(left.to_dict()), _flat(right.to_dict())
    return {
        key: (flat_left.get(key), flat_right.get(key))
        for key in {**flat_left, **flat_right}
        if flat_left.get(key) != flat_right.get(key)
    }


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat

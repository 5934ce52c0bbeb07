"""Search spaces: which values the keys of a recipe may take."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_infer.schema import SchemaError, parse
from trainer.errors import RecipeError
from trainer.recipe import Recipe, recipe_from_dict

SPACE_FOLDER = Path(__file__).parents[1] / "spaces"


@dataclass(frozen=True)
class Dimension:
    """The values that one key of a recipe may take: a range, or a list of choices.

    Attributes:
        low, high: ends of a range, both included; whole numbers where the key takes whole numbers.
        log: draw evenly on a logarithmic scale.
        choices: instead of a range.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: tuple[Any, ...] | None = None


Space = dict[str, Dimension]
"""Dimensions by the key's path in the recipe, for example `optim.learning_rate`."""


def load_space(path: Path, recipe: Recipe) -> Space:
    """Reads a search space, a TOML file laid out as the recipe is, and tries its ends and choices on the recipe.

    Raises:
        RecipeError: no TOML, an unknown key (the nearest known one is named), or a value that the recipe does not take.
    """
    if not path.is_file():
        known = sorted(item.stem for item in SPACE_FOLDER.glob("*.toml"))
        near = difflib.get_close_matches(path.stem, known, n=1)
        hint = f"Did you mean {SPACE_FOLDER / near[0]}.toml?" if near else f"Examples are in {SPACE_FOLDER}."
        raise RecipeError(f"There is no search space {path}.", hint)
    try:
        space = dict(_dimensions(tomllib.loads(path.read_text(encoding="utf-8")), ""))
    except (tomllib.TOMLDecodeError, SchemaError) as error:
        raise RecipeError(f"{path}: {error}.", "Correct the search space.") from error
    if not space:
        raise RecipeError(f"{path} names no key.", "Give at least one key a range or choices.")
    for key, item in space.items():
        # Taken as the recipe takes them: ends of a range may be written as whole numbers where the key is none.
        taken = [_read(apply(recipe, {key: value}, str(path)), key) for value in item.choices or (item.low, item.high)]
        if item.choices is None:
            space[key] = dataclasses.replace(item, low=taken[0], high=taken[1])
    return space


def apply(recipe: Recipe, params: Mapping[str, Any], where: str = "trial") -> Recipe:
    """The recipe with some values changed, by their keys' paths.

    Raises:
        RecipeError: an unknown key (the nearest known one is named), or a value that the recipe does not take.
    """
    plain = recipe.to_dict()
    for key, value in params.items():
        *sections, name = key.split(".")
        table = plain
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise RecipeError(
                    f"{where}: {key}: the recipe has no table '{section}'.", "Give it one, or drop the key."
                )
        table[name] = value
    return recipe_from_dict(plain, where)


def _read(recipe: Recipe, key: str) -> Any:
    value: Any = recipe.to_dict()
    for part in key.split("."):
        value = value[part]
    return value


def _dimensions(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Dimension]]:
    for name, value in table.items():
        key = f"{prefix}{name}"
        if not isinstance(value, dict):
            raise SchemaError(f"{key}: expected a range such as {{ low = 0.1, high = 0.5 }}, or choices")
        is_range = value.keys() & {"low", "high", "log", "choices"}
        if not is_range or any(isinstance(item, dict) for item in value.values()):
            yield from _dimensions(value, f"{key}.")
            continue
        found = parse(Dimension, value, key)
        if (found.choices is None) == (found.low is None or found.high is None):
            raise SchemaError(f"{key}: expected either low and high, or choices")
        if found.low is not None and found.high is not None and not found.low < found.high:
            raise SchemaError(f"{key}: low is not below high")
        if found.log and (found.low is None or found.low <= 0):
            raise SchemaError(f"{key}: log needs a range above zero")
        yield key, found

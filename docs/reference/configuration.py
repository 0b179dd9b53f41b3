"""Write configuration.md from segdec's settings and recipes, so that the page cannot differ from the code.

Run it with ``make docs``; a test compares the page with what stands here.
"""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from segdec import config

PAGE = Path(__file__).with_suffix(".md")

INTRODUCTION = """\
# Configuration

<!-- Written by docs/reference/configuration.py (make docs); do not edit. -->

One tree of settings decides what a training run does. It is built in three steps, each laid over the one
before: the defaults below, a recipe (`--recipe kolektor`, or the path of a TOML file), and single settings
(`--set train.epochs=5`, as often as needed). An unknown setting is an error that names the nearest known one.
Every run folder holds the whole tree as `config.toml`, which can be given to `--recipe` again.

Values are written as in TOML: `true`, `3`, `0.5`, `[704, 256]`; a word needs no quotes. A setting whose
default is "none" is left open: its meaning says what happens then.
"""

RECIPES = """\
## Recipes

What the shipped recipes set; everything else stays at its default. Each file names its source, and what to
change for fewer positive images, in its first lines.
"""


def page() -> str:
    """Return the whole page as Markdown."""
    parts = [INTRODUCTION]
    for section, field in config.Config.model_fields.items():
        model = field.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise TypeError(f"{section} is no section of settings")
        parts.append(f"## {section}\n\n{(model.__doc__ or '').strip()}\n")
        parts.append(_table(("setting", "values", "default", "meaning"), _rows(section, model)))
    names = config.recipe_names()
    parts += [RECIPES, _table(("setting", *names), _recipe_rows(names))]
    return "\n".join(parts)


def _rows(section: str, model: type[BaseModel]) -> list[tuple[str, ...]]:
    meanings = _meanings(model)
    return [
        (f"`{section}.{name}`", _values(field), _value(field.default), meanings.get(name, ""))
        for name, field in model.model_fields.items()
    ]


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return the string that stands below each setting in the source."""
    body = ast.parse(inspect.getsource(model)).body[0]
    if not isinstance(body, ast.ClassDef):
        raise TypeError(f"{model} is no class")
    found: dict[str, str] = {}
    for line, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(line, ast.AnnAssign)
            and isinstance(line.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            found[line.target.id] = " ".join(str(below.value.value).split())
    return found


def _values(field: Any) -> str:
    """Say in words which values a setting takes."""
    words = _kind(field.annotation)
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    bounds = [
        f"{sign} {getattr(bound, name):g}"
        for bound in field.metadata
        for name, sign in signs.items()
        if getattr(bound, name, None) is not None
    ]
    return " ".join([words, ", ".join(bounds)]).strip()


def _kind(annotation: Any) -> str:
    simple = {bool: "true, false", int: "integer", float: "number", str: "text"}
    if annotation in simple:
        return simple[annotation]
    arguments = [argument for argument in get_args(annotation) if argument is not type(None)]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{argument}`" for argument in arguments)
    if Ellipsis in arguments:
        return f"list of {_kind(arguments[0])}"
    if get_origin(annotation) is tuple:
        return f"{len(arguments)} integers"
    return _kind(arguments[0])  # a value or None


def _value(value: Any) -> str:
    return "none" if value is None else f"`{json.dumps(value).strip(chr(34))}`"


def _recipe_rows(names: list[str]) -> list[tuple[str, ...]]:
    base = config.Config().model_dump()
    trees = [config.load_config(name).model_dump() for name in names]
    return [
        (f"`{section}.{key}`", *(_value(tree[section][key]) for tree in trees))
        for section, settings in base.items()
        for key in settings
        if any(tree[section][key] != base[section][key] for tree in trees)
    ]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

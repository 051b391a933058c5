"""Each class and type alias of pingboard has a name that no other has."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pingboard

PACKAGE = Path(pingboard.__file__).parent
TYPE_VARIABLES = ("TypeVar(", "ParamSpec(")


def read_type_names(module: Path) -> Iterator[tuple[str, bool]]:
    """Yield the name of each class and alias of a module, and whether it is a type variable."""
    for statement in ast.parse(module.read_text()).body:
        match statement:
            case ast.ClassDef(name=name):
                yield name, False
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                if name.lstrip("_")[:1].isupper() and (len(name) == 1 or not name.isupper()):
                    yield name, ast.unparse(value).startswith(TYPE_VARIABLES)


def test_no_two_classes_or_type_aliases_share_a_name() -> None:
    modules: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for module in sorted(PACKAGE.rglob("*.py")):
        for name, is_variable in read_type_names(module):
            modules[name].append((str(module.relative_to(PACKAGE)), is_variable))
    shared = {
        name: [module for module, _ in places]
        for name, places in modules.items()
        # A type variable means nothing outside of its module.
        if len(places) > 1 and not all(is_variable for _, is_variable in places)
    }
    assert len(modules) > 100
    assert shared == {}

# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Import the Python classes that a file names and create objects of them; report errors at the keys of the file."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from batchy_provider.config.diagnostics import Code, KeyPath, Violation, did_you_mean
from batchy_provider.config.jinja import template_violations
from batchy_provider.config.key_checks import FACTORY_ARGS


class BuildError(Exception):
    """The tasks of a valid file cannot be created.

    :param violations: what is wrong, each with its key.
    """

    def __init__(self, violations: Iterable[Violation]) -> None:
        self.violations = list(violations)
        super().__init__("; ".join(problem.message for problem in self.violations))


def import_class(path: str, base: type, what: str, place: KeyPath) -> Any:
    """Import a class by its full name.

    :param base: what it must be a subclass of.
    :param what: what such a class is called.
    :param place: the key that names it.
    :raises BuildError: if there is no such class.
    """
    module_name, _, class_name = path.rpartition(".")
    if not module_name:
        raise BuildError(
            [Violation(place, Code.INVALID_VALUE, f"expected a full Python path, package.module.Class, not {path!r}")]
        )
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        hint = "; is its provider installed here?" if missing.startswith("airflow.providers") else ""
        raise BuildError([Violation(place, Code.CLASS_NOT_FOUND, f"there is no module {missing!r}{hint}")]) from None
    except Exception as error:
        message = f"the module {module_name!r} cannot be imported: {type(error).__name__}: {error}"
        raise BuildError([Violation(place, Code.CLASS_NOT_FOUND, message)]) from None
    try:
        cls = getattr(module, class_name)
    except AttributeError:
        hint = did_you_mean(class_name, (each for each in vars(module) if not each.startswith("_")))
        raise BuildError(
            [Violation(place, Code.CLASS_NOT_FOUND, f"{module_name} has no {class_name!r}{hint}")]
        ) from None
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise BuildError(
            [Violation(place, Code.CLASS_NOT_FOUND, f"{path} is not an {what} (a class of {base.__name__})")]
        )
    return cls


def make(
    cls: Any, own: Mapping[str, Any], ours: Mapping[str, Any], place: KeyPath, *, has_templates: bool = True
) -> Any:
    """Create an object of a class.

    :param own: arguments from the file.
    :param ours: arguments that the factory adds.
    :param place: the key of the arguments, or of the class if there are none.
    :param has_templates: whether some arguments may be templates that nobody has parsed yet.
    :raises BuildError: if the class does not accept them.
    """
    if has_templates:
        check_templates(cls, own, place)
    try:
        return cls(**{**own, **ours})
    except Exception as error:
        raise refusal(cls, own, error, place) from None


def check_templates(cls: Any, own: Mapping[str, Any], place: KeyPath) -> None:
    """Parse the arguments that Airflow renders as templates.

    :raises BuildError: if one of them cannot be rendered.
    """
    files = tuple(getattr(cls, "template_ext", ()))
    violations: list[Violation] = []
    for name in getattr(cls, "template_fields", ()):
        value = own.get(name)
        if not (isinstance(value, str) and files and value.endswith(files)):
            # A class may add its own names when it renders.
            violations += template_violations(value, (*place, name), any_names=True)
    if violations:
        raise BuildError(violations)


def refusal(cls: type, own: Iterable[str], error: Exception, place: KeyPath) -> BuildError:
    """Return the error for a class that refused its arguments, at the keys of the file."""
    path = f"{cls.__module__}.{cls.__qualname__}"
    known = _parameters(cls)
    unknown = [arg for arg in own if arg not in known]
    if unknown and isinstance(error, TypeError):
        return BuildError(
            Violation(
                (*place, arg), Code.CLASS_ARGUMENTS, f"{path} takes no argument {arg!r}{did_you_mean(arg, known)}", True
            )
            for arg in unknown
        )
    return BuildError([Violation(place, Code.CLASS_ARGUMENTS, f"{path} does not accept its arguments: {error}")])


def _parameters(cls: type) -> set[str]:
    """Return the names of all arguments of a class and of those that it passes the rest on to."""
    known = {
        parameter
        for base in cls.__mro__
        if "__init__" in vars(base)
        for parameter in inspect.signature(vars(base)["__init__"]).parameters
    }
    return known - FACTORY_ARGS.keys() - {"self", "args", "kwargs"}

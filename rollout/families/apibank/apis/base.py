"""What a simulated API is, and the databases that the APIs of one episode share.

Contract: an API is a function of a :class:`World` and its inputs, registered by :func:`api` under the name of the data.
It returns JSON, or raises ValueError with the message that a record would hold as its exception. Nothing is random and
nothing reads a clock: an id that the original draws is a digest of the inputs, unless the call repeats a record.
"""

from __future__ import annotations

import ast
import datetime
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

Run = Callable[..., Any]
_TYPES: dict[Any, str] = {str: "str", int: "int", bool: "bool", float: "float", list[str]: "list(str)"}
TODAY = "2023-03-31"
"""The date of every episode, as in the records."""


class World:
    """The databases of one episode, each parsed when it is first used.

    Args:
        databases: name → JSON text, as the data set has it.
    """

    def __init__(self, databases: Mapping[str, str]) -> None:
        self._texts, self._open = databases, dict[str, Any]()
        self.recorded: Any = None
        """The output of the record that is repeated; None when a call is new."""
        self.resetting: str | None = None
        """The user to whom a verification code was sent."""

    def __getitem__(self, name: str) -> Any:
        """A database. Raises ValueError when it is not among the data."""
        if name not in self._open:
            if name not in self._texts:
                raise ValueError(f"There is no database {name}.")
            self._open[name] = json.loads(self._texts[name])
        return self._open[name]

    def user_of(self, token: str) -> str:
        """The user with this token. Raises ValueError when there is none."""
        for name, account in self["Account"].items():
            if account["token"] == token:
                return str(name)
        raise ValueError("The token is invalid.")

    def make_id(self, alphabet: str, length: int, *content: str) -> str:
        """An id that depends on the content alone."""
        digest = hashlib.sha256(json.dumps(content).encode()).digest()
        return "".join(alphabet[byte % len(alphabet)] for byte in digest[:length])


@dataclass(frozen=True)
class Api:
    """A simulated API.

    Attributes:
        name: its name in the data.
        run: the function; its first parameter is the world.
        signature: the parameters that a call may give.
        databases: names of the databases that it reads or changes.
        about: parameter → what it is, in words.
        returns: name, type and meaning of the output.
    """

    name: str
    run: Run
    signature: inspect.Signature
    databases: tuple[str, ...]
    about: Mapping[str, str]
    returns: tuple[str, str, str]

    def describe(self) -> dict[str, Any]:
        """Name, description and parameters, in the form of the data set."""
        inputs = {
            name: {"type": _TYPES.get(_required(one.annotation), "list"), "description": self.about[name]}
            for name, one in self.signature.parameters.items()
        }
        output, kind, meaning = self.returns
        return {
            "name": self.name,
            "description": (inspect.getdoc(self.run) or "").partition("\n")[0],
            "input_parameters": inputs,
            "output_parameters": {output: {"type": kind, "description": meaning}},
        }

    def bind(self, *given: Any, **named: Any) -> dict[str, Any]:
        """The inputs by name, each of the type that the parameter asks for.

        A number for a text becomes its digits, and a list may be written as a text. What was not given is left out.

        Raises:
            TypeError: a parameter is missing, or there is none of a name.
            ValueError: a list is written as a text that is none.
        """
        bound = self.signature.bind(*given, **named).arguments
        parameters = self.signature.parameters
        return {
            name: _typed(name, value, _required(parameters[name].annotation))
            for name, value in bound.items()
            if not (value is None and parameters[name].default is None)
        }


APIS: dict[str, Api] = {}
"""Name → simulated API; filled when :mod:`rollout.families.apibank.apis` is imported."""


def api(name: str, returns: tuple[str, str, str], databases: str = "", /, **about: str) -> Callable[[Run], Run]:
    """Registers a function as an API.

    Args:
        name: its name in the data.
        returns: name, type and meaning of its output.
        databases: names of its databases, with spaces between them.
        about: what each parameter is.
    """

    def register(run: Run) -> Run:
        hints = get_type_hints(run)
        parameters = list(inspect.signature(run).parameters.values())[1:]
        signature = inspect.Signature(
            [one.replace(annotation=hints[one.name], kind=one.POSITIONAL_OR_KEYWORD) for one in parameters]
        )
        APIS[name] = Api(name, run, signature, tuple(databases.split()), about, returns)
        return run

    return register


def accepted_type(annotation: Any) -> Any:
    """What a call may give where a parameter has this type: see :meth:`Api.bind`."""
    kind = _required(annotation)
    wide = str | int | float if kind is str else kind if kind in (int, bool, float) else kind | str
    return wide if kind is annotation else wide | None


def moment(text: str, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A time in its canonical form.

    Raises:
        ValueError: it is of another form.
    """
    return datetime.datetime.strptime(text.strip(), form).strftime(form)


def day(text: str) -> str:
    """A date in its canonical form. Raises ValueError when it is of another form."""
    return moment(text, "%Y-%m-%d")


def filled(name: str, text: str) -> str:
    """The text without spaces around it. Raises ValueError when nothing is left."""
    if not text.strip():
        raise ValueError(f"The {name} cannot be empty.")
    return text.strip()


def found(table: Mapping[str, Any], key: str, what: str) -> Any:
    """An entry of a database. Raises ValueError when it does not exist."""
    if key not in table:
        raise ValueError(f"The {what} does not exist.")
    return table[key]


def next_key(table: Mapping[str, Any]) -> str:
    """The number of the next entry."""
    return str(max((int(key) for key in table), default=0) + 1)


def _required(annotation: Any) -> Any:
    """The type without ``None``."""
    options = [one for one in getattr(annotation, "__args__", ()) if one is not type(None)]
    is_optional = len(options) < len(getattr(annotation, "__args__", ()))
    return options[0] if is_optional else annotation


def _typed(name: str, value: Any, kind: Any) -> Any:
    if kind is str:
        return value if isinstance(value, str) else str(value)
    if kind in (int, bool, float) or not isinstance(value, str):
        return value
    try:
        written = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        written = None
    if not isinstance(written, list):
        raise ValueError(f"{name} is not a list.")
    return written

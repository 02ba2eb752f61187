"""Runs inside the two kernels that judge code: the one with the code, and the one with its tests.

Contract: this file is sent to both kernels as a cell; it uses the standard library only. Values travel between them as
JSON without types of anybody's own: a result that claims to equal everything arrives as a :class:`Handle`, which equals
only itself. The kernel with the tests never runs the code, and the other one never sees a test.
"""

# ruff: noqa: PTH123, SIM115

import builtins
import json
import os
import signal
import sys
import types
from typing import Any, NoReturn

MOST_OUTPUT = 400_000
_kept: dict[int, Any] = {}
_space: dict[str, Any] = {}


class NotGraded(Exception):
    """A test does something that cannot be handed to the other kernel."""


def encode(value: Any, keep: Any) -> Any:
    """A value as JSON; ``keep`` gives a number to an object that stays where it is."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Handle):
        return ["h", object.__getattribute__(value, "_number")]
    if isinstance(value, int):
        value = int(value)
        return value if abs(value) < 2**53 else ["i", hex(value)]
    if isinstance(value, float):
        return ["f", float.hex(value)]
    if isinstance(value, str):
        return ["s", str.__str__(value)]
    if isinstance(value, complex):
        return ["c", float.hex(value.real), float.hex(value.imag)]
    if isinstance(value, bytes | bytearray):
        return ["b", bytes(value).hex()]
    kinds: list[tuple[str, Any]] = [("l", list), ("t", tuple), ("e", set), ("z", frozenset)]
    for tag, kind in kinds:
        if isinstance(value, kind):
            return [tag, [encode(item, keep) for item in kind.__iter__(value)]]
    if isinstance(value, dict):
        return ["d", [[encode(key, keep), encode(item, keep)] for key, item in dict.items(value)]]
    if isinstance(value, range):
        return ["r", [value.start, value.stop, value.step]]
    name = getattr(value, "__name__", "")
    if isinstance(value, type) and getattr(builtins, name, None) is value:
        return ["y", name]
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return encode(value.item(), keep)
    return ["h", keep(value)]


def decode(code: Any, held: Any) -> Any:
    """The value of :func:`encode`; ``held`` gives the object of a number."""
    if not isinstance(code, list):
        return code
    tag, body = code[0], code[1]
    if tag in "ltez":
        kinds: dict[str, Any] = {"l": list, "t": tuple, "e": set, "z": frozenset}
        return kinds[tag](decode(item, held) for item in body)
    if tag == "d":
        return {decode(key, held): decode(item, held) for key, item in body}
    if tag == "c":
        return complex(float.fromhex(body), float.fromhex(code[2]))
    simple: dict[str, Any] = {
        "s": lambda: body,
        "i": lambda: int(body, 16),
        "f": lambda: float.fromhex(body),
        "b": lambda: bytes.fromhex(body),
        "r": lambda: range(*body),
        "y": lambda: getattr(builtins, body),
        "h": lambda: held(body),
    }
    return simple[tag]()


# --- the kernel with the code ---------------------------------------------------------------------------------------


def _keep(value: Any) -> int:
    _kept[len(_kept) + 1] = value
    return len(_kept)


def load(before: Any, code: Any) -> Any:
    """Runs the code and returns the kind of each name that it defines: a module, or anything else."""
    _space.clear()
    for source in dict.fromkeys([before + "\n" + code, code]):
        space: dict[str, Any] = {"__name__": "solution", "__builtins__": builtins}
        try:
            exec(compile(source, "<code>", "exec"), space)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            failure = _raised(error)
        else:
            _space.update(space)
            kinds = {
                name: value.__name__ if isinstance(value, types.ModuleType) else "" for name, value in space.items()
            }
            return {"names": {name: kind for name, kind in kinds.items() if not name.startswith("__")}}
    return failure


def serve(request: Any) -> Any:
    """Does one thing with the loaded code and returns the result, or what was raised."""
    try:
        target = _target(request["target"])
        given = [decode(item, _kept.__getitem__) for item in request["arguments"]]
        named = {key: decode(item, _kept.__getitem__) for key, item in request.get("named", {}).items()}
        result = _OPERATIONS[request["operation"]](target, *given, **named)
        changed = {}
        for index, (item, old) in enumerate(zip(given, request["arguments"], strict=True)):
            if isinstance(item, list | dict | set) and (new := encode(item, _keep)) != old:
                changed[index] = new
        return {"result": encode(result, _keep), "changed": changed}
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return _raised(error)


def _target(code: Any) -> Any:
    if "name" not in code:
        return _kept[code["handle"]]
    owner, _, method = code["name"].partition(".")
    if method:  # a method of a class that APPS calls Solution
        return getattr(_space[owner](), method)
    return _space[owner]


_OPERATIONS: dict[str, Any] = {
    "call": lambda target, *given, **named: target(*given, **named),
    "value": lambda target: target,
    "getattr": getattr,
    "setattr": setattr,
    "getitem": lambda target, key: target[key],
    "setitem": lambda target, key, value: target.__setitem__(key, value),
    "len": len,
    "iter": iter,
    "next": next,
    "str": str,
}


def _raised(error: Any) -> Any:
    return {"raised": [type(error).__name__, str(error)[:300]]}


def run_program(code: Any, text: Any) -> Any:
    """Runs a program in a fork, as a process with this standard input; returns what it printed and how it ended."""
    with builtins.open("stdin.txt", "w", encoding="utf-8") as file:
        file.write(text)
    child = os.fork()
    if not child:
        _be_program(code)
    try:
        _, status = os.waitpid(child, 0)
    except BaseException:  # the time limit interrupts this cell
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    with builtins.open("stdout.txt", encoding="utf-8", errors="replace") as file:
        printed = file.read(MOST_OUTPUT + 1)
    with builtins.open("stderr.txt", encoding="utf-8", errors="replace") as file:
        error = file.read()[-300:].strip().rpartition("\n")[2]
    return {"printed": printed, "ended": os.waitstatus_to_exitcode(status), "error": error}


def _be_program(code: Any) -> NoReturn:
    ended = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        for number, (name, flags) in enumerate(
            [("stdin.txt", os.O_RDONLY), ("stdout.txt", os.O_WRONLY), ("stderr.txt", os.O_WRONLY)]
        ):
            opened = os.open(name, flags | (os.O_CREAT | os.O_TRUNC if number else 0), 0o600)
            os.dup2(opened, number)
        sys.stdin = builtins.open(0, encoding="utf-8", closefd=False)
        sys.stdout = builtins.open(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = builtins.open(2, "w", encoding="utf-8", closefd=False)
        vars(builtins).update(input=_input, exit=sys.exit, quit=sys.exit)  # the shell has its own
        try:
            exec(compile(code, "<code>", "exec"), {"__name__": "__main__", "__builtins__": builtins})
            ended = 0
        except SystemExit as stop:
            ended = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}")
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException as error:
        with builtins.open("stderr.txt", "a", encoding="utf-8") as file:
            file.write(f"{type(error).__name__}: {error}")
        ended = 1
    finally:
        os._exit(ended & 255)


def _input(prompt: Any = "") -> str:
    sys.stdout.write(str(prompt))
    line = sys.stdin.readline()
    if not line:
        raise EOFError("EOF when reading a line")
    return line.removesuffix("\n")


# --- the kernel with the tests --------------------------------------------------------------------------------------

_asking: Any = None


class Handle:
    """An object that stays in the other kernel. It equals itself only."""

    def __init__(self, target: Any) -> None:
        object.__setattr__(self, "_target", target)
        object.__setattr__(self, "_number", target.get("handle"))

    def __call__(self, *given: Any, **named: Any) -> Any:
        return request("call", self, given, named)

    def __getattr__(self, name: Any) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return request("getattr", self, (name,))

    def __setattr__(self, name: Any, value: Any) -> None:
        request("setattr", self, (name, value))

    def __getitem__(self, key: Any) -> Any:
        return request("getitem", self, (key,))

    def __setitem__(self, key: Any, value: Any) -> None:
        request("setitem", self, (key, value))

    def __len__(self) -> int:
        return request("len", self, ())

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Any:
        return request("iter", self, ())

    def __next__(self) -> Any:
        return request("next", self, ())

    def __str__(self) -> str:
        return request("str", self, ())


def request(operation: Any, handle: Any, given: Any, named: Any = None) -> Any:
    """Asks the other kernel to do something, and updates the arguments that it has changed."""
    body = {
        "operation": operation,
        "target": object.__getattribute__(handle, "_target"),
        "arguments": [encode(item, _cannot_keep) for item in given],
        "named": {key: encode(item, _cannot_keep) for key, item in (named or {}).items()},
    }
    if body["target"].get("handle") is None and "name" not in body["target"]:
        raise NotGraded("an object without a place")
    answer = json.loads(_asking(json.dumps(body)))
    if "raised" in answer:
        name, message = answer["raised"]
        kind = getattr(builtins, name, None)
        if name in ("StopIteration", "StopAsyncIteration") and operation != "next":  # it would end a loop of the test
            kind = None
        if isinstance(kind, type) and issubclass(kind, Exception):
            raise kind(message)
        raise RuntimeError(f"{name}: {message}")
    for index, code in answer["changed"].items():
        _replace(given[int(index)], decode(code, _handle))
    return decode(answer["result"], _handle)


def _replace(old: Any, new: Any) -> None:
    if isinstance(old, list):
        old[:] = new
    elif isinstance(old, dict | set):
        old.clear()
        old.update(new)


def _handle(number: Any) -> Any:
    return Handle({"handle": number})


def _cannot_keep(value: Any) -> NoReturn:
    raise NotGraded(f"a test hands over a {type(value).__name__}, which cannot leave its kernel")


def prepare(ask: Any, before: Any, names: Any, entry_point: Any) -> Any:
    """Gives the tests stand-ins for the names of the code, and runs the trusted code before them."""
    global _asking
    _asking = ask
    _space.clear()
    _space["__name__"] = "tests"
    for name, module in names.items():
        _space[name] = Handle({"name": name})
        if module:
            try:
                _space[name] = __import__(module, fromlist=["_"])
            except ImportError:
                del _space[name]
    try:
        exec(compile(before, "<before>", "exec"), _space)
    except NameError as error:
        return {"raised": [type(error).__name__, str(error)]}
    if entry_point:
        _space[entry_point] = Handle({"name": entry_point})
    return {}


def run_test(source: Any) -> None:
    """Runs one test; what it raises ends the cell."""
    exec(compile(source, "<test>", "exec"), _space)

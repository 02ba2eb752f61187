"""Display of values: IPython's display hook, publisher and formatter over the kernel's transport.

Contract: shows what IPython would show. Built-in types take a shortcut: IPython asks twelve formatters about each
value, and the eleven rich ones know a built-in type only if a printer was registered for it. The shortcut saves a third
of the time of a cell that ends in a number.
"""

from __future__ import annotations

from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.formatters import BaseFormatter, DisplayFormatter

PLAIN = frozenset({bool, int, float, complex, str, bytes, list, tuple, dict, set})
"""Types to which no rich display method can be added."""


class SandboxFormatter(DisplayFormatter):
    """Asks only the plain-text formatter about built-in types without registered printers."""

    def __init__(self, **known: Any) -> None:
        super().__init__(**known)
        self._plain, *self._rich = self._every()

    def format(self, obj: Any, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        if include or exclude or type(obj) not in PLAIN or self._has_custom_printer(obj):
            return super().format(obj, include, exclude)
        text = self._plain(obj)
        return {} if text is None else {self._plain.format_type: text}, {}

    def _has_custom_printer(self, value: Any) -> bool:
        """Whether formatters were changed, or a rich one has a printer for this value or its type."""
        if self._every() != [self._plain, *self._rich]:
            return True
        kinds = type(value).__mro__
        for rich in self._rich:
            by_type, by_name = rich.type_printers, rich.deferred_printers
            if (
                (by_type and any(kind in by_type for kind in kinds))
                or (by_name and any((kind.__module__, kind.__name__) in by_name for kind in kinds))
                or id(value) in rich.singleton_printers
            ):
                return True
        return False

    def _every(self) -> list[BaseFormatter]:
        """All formatters, the one for plain text first."""
        return [*self.formatters.values(), self.ipython_display_formatter, self.mimebundle_formatter]


class SandboxDisplayHook(DisplayHook):
    """Sends the value of a cell's last expression."""

    @staticmethod
    def semicolon_at_end_of_expression(expression: str) -> bool:
        return ";" in expression and bool(DisplayHook.semicolon_at_end_of_expression(expression))

    def write_output_prompt(self) -> None: ...

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        shell: Any = self.shell
        shell.send_bundle("execute_result", format_dict, md_dict, execution_count=self.prompt_count)

    def finish_displayhook(self) -> None: ...


class SandboxDisplayPublisher(DisplayPublisher):
    """Sends the output of ``display``."""

    def publish(  # type: ignore[override]
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **_: Any,
    ) -> None:
        kind = "update_display_data" if update else "display_data"
        self.shell.send_bundle(kind, data, metadata, transient=transient or {})

    def clear_output(self, wait: bool = False) -> None:
        self.shell.transport.publish("clear_output", {"wait": wait})

"""Text of cells as a terminal would show it, in every field of a result and in what a model reads."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.environment import Budget
from rollout.protocol import EpisodeProtocol
from sandbox import CellResult, KernelPool
from sandbox.guest.cell_text import CellText, read_cell, region_bytes
from sandbox.guest.terminal import visible_text, without_overwritten
from sandbox.host.plain import plain_bundle
from sandbox.result import LateOutput

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
SEQUENCES = ["\x1b", "\x1b[", "\x1b[K", "\x1b[2K", "\x1b[31m", "\x1b[3D", "\x1b]0;t\x07", "\x9b1m", "\x9d", "\x85"]
PIECES = st.sampled_from([*SEQUENCES, *"\r\b\n\tab"]) | st.characters()
TERMINAL_TEXT = st.lists(PIECES, max_size=20).map("".join)
few = settings(max_examples=50, deadline=None)


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("  0%|    |\r 50%|##  |\r100%|####|\n", "100%|####|\n"),
        ("long line\rshort\n", "shortline\n"),
        ("long line\r\x1b[Kshort\n", "short\n"),
        ("long line\x1b[2K\rshort\n", "short\n"),
        ("abc\b\bX", "aXc"),
        ("|\b/\b-\b\\\bdone", "done"),
        ("12%\x1b[3D99%", "99%"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("\x1b[1;31mred\x1b[0m \x9b32mgreen\x9b0m", "red green"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x07 \x1b]0;title\x9cend", "link end"),
        ("\x1bPq#0;2;0;0;0\x1b\\after", "after"),
        ("bell\a null\0 delete\x7f next\x85 escape\x1b", "bell null delete next escape"),
        ("\x1b]no end\nstays", "no end\nstays"),
        ("tab\tand é, 漢字 🙂\n", "tab\tand é, 漢字 🙂\n"),
    ],
)
def test_a_line_is_shown_as_a_terminal_shows_it(printed: str, shown: str) -> None:
    assert visible_text(printed) == shown


@few
@given(TERMINAL_TEXT)
def test_visible_text_has_no_control_characters_and_stays_as_it_is(text: str) -> None:
    shown = visible_text(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown)
    assert visible_text(shown) == shown


@few
@given(st.lists(st.text("ab\r\b\n", max_size=8), max_size=8), st.text("ab\r\b\n", max_size=8))
def test_what_is_overwritten_can_be_left_out_before_a_text_goes_on(pieces: list[str], more: str) -> None:
    text = "".join(pieces)
    assert visible_text("start" + without_overwritten(text) + more) == visible_text("start" + text + more)


@few
@given(st.lists(st.text("ab\r\n", max_size=30), max_size=20))
def test_memory_holds_head_and_tail_of_what_was_printed(pieces: list[str]) -> None:
    memory, keep = memoryview(bytearray(region_bytes(40))), 40
    text = CellText(memory, keep, 0)
    head = "".join(text.add(piece) for piece in pieces)
    printed, rest = "".join(pieces), text.rest()
    (found, _) = read_cell(bytes(memory), keep, "")
    assert head == found.head == printed[:20]
    assert found.total == len(printed) and rest.endswith(found.tail)
    assert found.omitted == 0 or f"... {found.omitted:,} characters omitted ..." in rest
    if not found.omitted:
        assert visible_text(head + rest) == visible_text(printed)


@few
@given(
    st.dictionaries(
        st.sampled_from(["text/plain", "text/html", "application/json"]), TERMINAL_TEXT | st.lists(TERMINAL_TEXT)
    )
)
def test_bundles_hold_no_control_characters(data: dict[str, Any]) -> None:
    assert not _dirty(plain_bundle(data))


def _dirty(value: Any) -> list[str]:
    if isinstance(value, str):
        return CONTROLS.findall(value)
    if isinstance(value, dict):
        return _dirty([*value.values(), *value])
    return [found for each in value for found in _dirty(each)] if isinstance(value, list | tuple) else []


ODD = r"'\x1b[31mred\x1b[0m \x9b1m \x1b]0;t\x07 1%\r99% \x00\x07\x7f\x85 a\bb'"
CELLS = {
    "print": f"import sys\nprint({ODD}); print({ODD}, file=sys.stderr)",
    "raw": f"import os\nos.write(1, ({ODD} + '\\n').encode())",
    "shell": r"!printf '\033[31mred\033[0m 1%%\r99%%\n'",
    "error": f"raise ValueError({ODD})",
    "name": f"raise type({ODD}.replace(chr(0), ''), (Exception,), dict())('x')",
    "note": f"e = ValueError('x'); e.add_note({ODD}); raise e",
    "source": f"raise ValueError('x')  # {chr(27)}[31m",
    "value": f"class Odd:\n    def __repr__(self): return {ODD}\nOdd()",
    "display": f"display({{'text/plain': {ODD}, 'text/html': {ODD}, 'application/json': [{ODD}]}}, raw=True)",
    "key": f"display({{{ODD}: {ODD}}}, raw=True)",
    "death": f"import os\nprint({ODD}); os._exit(1)",
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("cell", CELLS)
async def test_no_field_of_a_result_holds_a_control_character(pool: KernelPool, cell: str) -> None:
    async with await pool.acquire() as kernel:
        result = await kernel.run(CELLS[cell])
    assert _dirty(result.model_dump()) == []
    assert result.stdout + result.stderr + result.traceback + str(result.value) + str(result.outputs) != "None()"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_progress_bar_leaves_its_last_frame(pool: KernelPool) -> None:
    bar = "import sys\nprint('before')\nfor i in range(1001):\n"
    bar += "    sys.stderr.write(f'\\r{i:4d}/1000 |{\"#\" * (i // 20):50s}|'); sys.stderr.flush()\n"
    bar += "sys.stderr.write('\\n'); print('after')"
    async with await pool.acquire() as kernel:
        heard: list[str] = []
        result = await kernel.run(bar, on_event=lambda kind, content: heard.append(content["text"]))
        cut = await kernel.run(bar.replace("sys.stderr.write('\\n')", "import os; os._exit(1)"))
    assert result.stdout == "before\nafter\n"
    assert result.stderr == cut.stderr + "\n" == f"1000/1000 |{'#' * 50}|\n"
    assert any("\r" in text for text in heard)  # a live reader sees it move
    shown = EpisodeProtocol().render(result)
    assert shown == f"before\nafter\n1000/1000 |{'#' * 50}|"


def test_a_model_reads_what_is_late_and_what_is_missing() -> None:
    late = (
        LateOutput(cell=2, stream="stdout", text="from a thread\n"),
        LateOutput(cell=None, stream="stderr", text="?"),
    )
    missing = "text that it printed before it died may be missing"
    result = CellResult(
        status="died", stdout="own\n", late=late, missing=missing, missing_chars=None, state_survived=False
    )
    budget = Budget(steps_left=1, proposals_left=1, invalid_left=1)
    assert EpisodeProtocol().observation(result, budget).splitlines() == [
        "Observation:", "own", "[printed late, by cell 2]", "from a thread", "[printed late, by an earlier cell]", "?",
        f"[{missing}]", "[died] All variables are lost.",
    ]  # fmt: skip
    odd = CellResult(status="ok", stdout="\x1b[31mfrom another source of kernels\x1b[0m\r\n")
    assert EpisodeProtocol().render(odd) == "from another source of kernels"

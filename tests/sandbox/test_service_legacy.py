"""`POST /execute` for clients of the first CodeAct service."""

import asyncio
import re
from typing import Any

import pytest

from tests.helpers.kernel_service import BOB, Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_old_clients_get_text_and_one_kernel_a_conversation(api: Api) -> None:
    async def execute(code: str, convid: str = "c1") -> tuple[str, bool]:
        status, answer = await api("POST", "/execute", None, json={"convid": convid, "code": code})
        assert status == 200, answer
        return answer["result"], answer["new_kernel_created"]

    first = await asyncio.gather(execute("x = 1; print('a')"), execute("print('b')"))
    assert sorted(text for text, _ in first) == ["a\n", "b\n"] and [new for _, new in first].count(True) == 1
    assert await execute("y = 2") == ("[Code executed successfully with no output]", False)
    assert await execute("print('s')\n'v'") == ("s\n'v'\n", False)
    text, _ = await execute("1 / 0")
    assert text.endswith("ZeroDivisionError: division by zero") and "Traceback" in text
    text, _ = await execute("from IPython.display import Image; Image(b'\\x89PNG\\r\\n\\x1a\\n' + bytes(9))")
    assert re.search(r"!\[image\]\(data:image/png;base64,[A-Za-z0-9+/=]+\)", text)
    assert await execute("x", "c2") != await execute("x")
    text, new = await execute("import os; print('last', flush=True); os._exit(1)")
    assert text.startswith("last\n[The kernel died") and not new
    assert (await execute("'x' in globals()")) == ("False\n", True)


async def test_old_clients_hear_whether_a_dead_kernels_variables_are_gone_or_as_before(api: Api) -> None:
    async def execute(code: str) -> dict[str, Any]:
        return (await api("POST", "/execute", BOB, json={"convid": "c", "code": code}))[1]

    await execute("x = 1")
    answer = await execute("x = 2; import os; os._exit(1)")
    assert answer["result"] == "[The kernel died; its variables are as before this cell.]"
    assert await execute("x") == {"result": "1\n", "new_kernel_created": False}


async def test_old_clients_keep_what_was_printed_before_the_time_was_over(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.service.legacy.TIMEOUT_S", 0.2)
    status, answer = await api("POST", "/execute", None, json={"convid": "t", "code": "print('so far')\nwhile True: 1"})
    assert (status, answer["result"]) == (200, "so far\n[Execution timed out (0.2 seconds).]")

"""What a cell's result shows: values, output, errors and tracebacks, as IPython shows them."""

import pytest

from sandbox import Kernel, KernelPool
from sandbox.result import LateOutput

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_error_is_data_with_the_cells_own_frames_only(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        await kernel.run("def half(x):\n    return x / 0")
        result = await kernel.run("import json\nhalf(json.loads('4'))")
    assert (result.status, result.error_name, result.error_value) == ("error", "ZeroDivisionError", "division by zero")
    assert result.traceback.splitlines() == [
        "Traceback (most recent call last):",
        '  File "<cell 2>", line 2, in <module>',
        "    half(json.loads('4'))",
        '  File "<cell 1>", line 2, in half',
        "    return x / 0",
        "ZeroDivisionError: division by zero",
    ]


async def test_library_frames_and_host_paths_stay_out_of_tracebacks(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        result = await kernel.run("import json\njson.loads('{')")
    assert result.error_name == "JSONDecodeError"
    assert "site-packages" not in result.traceback and "json/decoder" not in result.traceback
    assert 'File "<cell 1>", line 2' in result.traceback


async def test_a_cause_is_shown_and_a_syntax_error_points(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        caused = await kernel.run("try:\n    1 / 0\nexcept Exception as e:\n    raise ValueError('bad') from e")
        syntax = await kernel.run("x = = 3")
    assert caused.traceback.index("ZeroDivisionError") < caused.traceback.index("direct cause")
    assert caused.traceback.endswith("ValueError: bad")
    assert syntax.error_name == "SyntaxError" and "    x = = 3\n        ^" in syntax.traceback


async def test_an_endless_recursion_is_short(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        result = await kernel.run("def f(n):\n    return f(n + 1)\nf(0)")
    assert result.error_name == "RecursionError" and len(result.traceback.splitlines()) < 30


async def test_top_level_await_magics_and_shell_lines_work(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        assert (await kernel.run("import asyncio\nawait asyncio.sleep(0)\n5")).value == "5"
        assert (await kernel.run("!echo from the shell")).stdout == "from the shell\n"
        assert (await kernel.run("%%time\ny = 1")).status == "ok"
        assert "built-in function len" in (await kernel.run("help(len)")).stdout


REPORTED = {
    "a number too long to show": ("2 ** 20_000", "ValueError", ""),
    "a repr that raises": ("class Odd:\n    def __repr__(self): raise KeyError('r')\nOdd()", "KeyError", "in __repr__"),
    "a script": ("%run script.py", "ZeroDivisionError", 'File "script.py", line 2, in f'),
    "a cell within": ("%%capture shown\n1 / 0", "ZeroDivisionError", "1 / 0"),
    "a timed cell": ("%%time\nx = 1\nx / 0", "ZeroDivisionError", 'File "<timed exec>", line 2'),
    "the last error again": ("%tb", "ZeroDivisionError", ""),
}


async def test_errors_that_ipython_reports_and_does_not_raise_are_errors(pool: KernelPool) -> None:
    script = b"def f():\n    return 1 / 0\nf()\n"
    async with await pool.acquire(files={"script.py": script}) as kernel:
        assert (await kernel.run("%tb")).stderr == "No traceback available to show.\n"
        for what, (code, name, line) in REPORTED.items():
            result = await kernel.run(code)
            assert (result.status, result.error_name) == ("error", name), what
            assert line in result.traceback, what
        assert (await kernel.run("1")).status == "ok"


async def test_a_group_of_exceptions_says_what_is_in_it(pool: KernelPool) -> None:
    inner = "ExceptionGroup('inner', [KeyError(n) for n in range(30)])"
    async with await pool.acquire() as kernel:
        result = await kernel.run(f"def f(): raise ExceptionGroup('outer', [ValueError('bad url'), {inner}])\nf()")
    assert result.error_name == "ExceptionGroup"
    for line in ("ExceptionGroup: outer (2 sub-exceptions)", "    | ValueError: bad url", "    |     | KeyError: 7"):
        assert line in result.traceback.split("\n")
    assert "KeyError: 8" not in result.traceback and "and 22 more" in result.traceback


async def test_modules_of_the_workspace_are_imported_and_named_in_tracebacks(pool: KernelPool) -> None:
    async with await pool.acquire(files={"put.py": b"x = 1\ndef f():\n    return 1 / 0\n"}) as kernel:
        assert (await kernel.run("import put; put.x")).value == "1"
        assert (await kernel.run("open('written.py', 'w').write('y = 2')\nimport written; written.y")).value == "2"
        result = await kernel.run("import os; os.mkdir('below'); os.chdir('below')\nput.f()")
        assert '  File "put.py", line 3, in f\n    return 1 / 0\n' in result.traceback


async def test_every_value_of_a_cell_is_kept(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        await kernel.run("get_ipython().ast_node_interactivity = 'all'")
        result = await kernel.run("1\n2\n3")
    assert (result.outputs, result.value) == (({"text/plain": "1"}, {"text/plain": "2"}), "3")


async def test_a_picture_over_the_budget_is_mentioned(pool: KernelPool) -> None:
    code = "display({'image/png': 'A' * (5 << 20), 'text/plain': '<Figure>'}, raw=True)"
    async with await pool.acquire() as kernel:
        (bundle,) = (await kernel.run(code)).outputs
    assert bundle == {"text/plain": "<Figure>\n<image/png of 5,242,880 characters is over this cell's budget>"}


async def test_raw_output_keeps_its_place(pool: KernelPool) -> None:
    code = "import os, sys\nprint('a')\nos.write(1, b'b\\n')\nos.system('echo c')\nprint('d')"
    async with await pool.acquire() as kernel:
        assert (await kernel.run(code)).stdout == "a\nb\nc\nd\n"
        assert (
            await kernel.run("import os\nif os.fork() == 0:\n    print('child'); os._exit(0)\nos.wait()[1]")
        ).value == "0"


async def test_output_keeps_head_and_tail_and_counts_what_is_missing(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        result = await kernel.run("print('A' * 600); print('B' * 5000); print('C' * 600)")
        value = await kernel.run("'v' * 5000")
    assert result.status == "ok" and result.stdout.startswith("A" * 500) and result.stdout.endswith("C" * 499 + "\n")
    assert "... 5,203 characters omitted ..." in result.stdout
    assert value.value is not None and len(value.value) < 1100 and "omitted" in value.value


async def test_odd_text_arrives_plain(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        result = await kernel.run(r"print('\ud800 \0 \x1b[31mred\x1b[0m é')")
    assert result.stdout == "\\ud800  red é\n"


async def test_a_timeout_keeps_the_state(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        await kernel.run("x = 41")
        result = await kernel.run("x += 1\nprint('started', flush=True)\nwhile True: pass", timeout_s=0.3)
        assert (result.status, result.stdout, result.state_survived) == ("timeout_interrupted", "started\n", True)
        assert (await kernel.run("x")).value == "42"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ("[[1, 2]]", "protocol_violation"),
        ("{'x/y': [[]] * 60_000}", "protocol_violation"),
        ("{'a\\ud800': [deep, '\\ud800', float('nan')]}", "ok"),
    ],
    ids=["no bundle", "too many lists", "odd values"],
)
async def test_a_forged_display_is_no_error_of_the_hosts(pool: KernelPool, data: str, status: str) -> None:
    code = "import sys\ndeep = 1\nfor _ in range(300): deep = [deep]\n"
    async with await pool.acquire() as kernel:
        result = await kernel.run(f"{code}sys.stdout._transport.publish('display_data', {{'data': {data}}})")
        assert result.status == status and result.model_dump_json()
        assert (await kernel.run("6 * 7")).value == "42"


async def test_a_display_of_too_many_lists_is_left_out(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        code = "from IPython.display import display\ndisplay({'application/json': [[]] * 60_000}, raw=True)"
        result = await kernel.run(code)
    assert result.status == "ok" and "over this cell's budget" in result.outputs[0]["text/plain"]


async def test_a_print_flood_is_stopped(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        result = await kernel.run("while True: print('y' * 100_000)")
        assert (result.status, result.state_survived) == ("output_limit", True) and len(result.stdout) < 1100
        assert (await kernel.run("2")).value == "2"


async def test_late_output_of_a_thread_stays_out_of_the_next_cell(pool: KernelPool) -> None:
    code = "import threading\ngo = threading.Event()\ndef late():\n    go.wait(); print('late')\n"
    code += "t = threading.Thread(target=late); t.start()"
    async with await pool.acquire() as kernel:
        await kernel.run(code)
        result = await kernel.run("go.set(); t.join(); print('mine')")
        assert result.stdout == "mine\n"
        assert result.late == (LateOutput(cell=1, stream="stdout", text="late\n"),)
        assert (await kernel.run("1")).late == ()


async def test_jobs_of_later_cells_are_theirs_although_threads_and_their_numbers_come_back(pool: KernelPool) -> None:
    start = "import asyncio, threading\nfor _ in range(3):\n    t = threading.Thread(target=print, args=('one',))\n"
    start += "    t.start(); t.join()\nawait asyncio.to_thread(print, 'two')\nworkers.submit(print, 'three').result()"
    async with await pool.acquire() as kernel:
        await kernel.run(
            "import threading, time\nkept = threading.Thread(target=time.sleep, args=(0.05,)); kept.start()"
        )
        await kernel.run("from concurrent.futures import ThreadPoolExecutor\nworkers = ThreadPoolExecutor(1)")
        await kernel.run("workers.submit(print).result(); kept.join()")
        for _ in range(2):
            assert (await kernel.run(start)).stdout == "one\none\none\ntwo\nthree\n"


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("!echo shell", None),
        ("words = !echo a b\nlist(words)", "['a b']"),
        ("x = %sx echo c\nlist(x)", "['c']"),
        ("%%timeit -n1 -r1 -q -o\n1 + 1", None),
        (">>> 6 * 7", "42"),
        ("In [3]: 6 * 7", "42"),
        (">>> for y in range(6):\n...     pass\n>>> y", "5"),
        ("\n\n  6 * 7", "42"),
        ("'100 %'", "'100 %'"),
        ("text = '''a\n  %b\n!c\n'''\ntext", "'a\\n  %b\\n!c\\n'"),
        ("import asyncio\nawait asyncio.sleep(0, 'awaited')", "'awaited'"),
        ("[i async for i in numbers()]", "[0, 1]"),
        ("awaited = 'a word'; awaited", "'a word'"),
    ],
)
async def test_cells_are_read_as_ipython_reads_them(pool: KernelPool, code: str, value: str | None) -> None:
    async with await pool.acquire() as kernel:
        await kernel.run("async def numbers():\n    yield 0\n    yield 1")
        result = await kernel.run(code)
        assert result.status == "ok", result.traceback
        if value is not None:
            assert result.value == value


async def test_transformers_of_the_users_own_are_asked_for_every_cell(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        shout = (
            "get_ipython().input_transformers_cleanup.append(lambda lines: [l.replace('low', 'LOW') for l in lines])"
        )
        await kernel.run(shout)
        assert (await kernel.run("'low'")).value == "'LOW'"


FORMATTER = "f = get_ipython().display_formatter\n"


@pytest.mark.parametrize(
    ("prepared", "code", "shown"),
    [
        ("", "6 * 7", {"text/plain": "42"}),
        ("", "'a;b'", {"text/plain": "'a;b'"}),
        ("", "x = 1; x", {"text/plain": "1"}),
        ("", "6 * 7;", None),
        ("", "6 * 7; # quiet", None),
        ("%precision 2", "[3.14159]", {"text/plain": "[3.14]"}),
        ("f.formatters['text/html'].for_type(int, '<b>{}</b>'.format)", "7", {"text/html": "<b>7</b>"}),
        ("f.formatters['text/html'].for_type(object, lambda v: 'all')", "[7]", {"text/html": "all"}),
        ("f.formatters['text/latex'].for_type_by_name('builtins', 'list', str)", "[7]", {"text/latex": "[7]"}),
        ("f.mimebundle_formatter.for_type(str, lambda v, **_: {'text/html': v})", "'7'", {"text/html": "7"}),
        ("f.ipython_display_formatter.for_type(int, lambda v: print('shown') or True)", "7", None),
        ("f.formatters['text/plain'].for_type(int, lambda v, p, cycle: p.text('own'))", "7", {"text/plain": "own"}),
        (
            "from IPython.core.formatters import HTMLFormatter\n"
            "class Mine(HTMLFormatter):\n    format_type = 'text/mine'\n    def __call__(self, value): return 'mine'\n"
            "f.register_formatter(Mine())",
            "7",
            {"text/mine": "mine"},
        ),
        ("class Own(int):\n    def _repr_html_(self): return '<i>'", "Own(7)", {"text/html": "<i>"}),
    ],
)
async def test_values_are_shown_as_ipython_shows_them(
    pool: KernelPool, prepared: str, code: str, shown: dict[str, str] | None
) -> None:
    async with await pool.acquire() as kernel:
        before = await kernel.run(prepared if prepared.startswith("%") else FORMATTER + prepared)
        assert before.status == "ok", before.traceback
        result = await kernel.run(code)
        if shown is None:
            assert result.value is None and not result.outputs
        else:
            seen = {
                "text/plain": result.value,
                **{name: text for each in result.outputs for name, text in each.items()},
            }
            assert shown.items() <= seen.items()


async def test_a_kernel_that_was_warm_shows_nothing_of_what_warmed_it(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        assert (await kernel.run("_i, _ii, _iii, Out")).value == "('', '', '', {})"


async def test_a_result_says_what_the_kernel_sent(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        short, long = await kernel.run("1"), await kernel.run("print('x' * 900); 1")
        assert short.received_bytes > 500 and 900 < long.received_bytes - short.received_bytes < 3000


WAITS = "import os, subprocess\np = subprocess.Popen(['sh', '-c', 'while [ ! -e {0} ]; do sleep 0.01; done; "
WAITS += "echo late {0}; echo error >&2'])"


async def test_late_output_of_a_child_is_its_cells_also_while_another_runs(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel:
        await _check_late_children(kernel)
        died = await kernel.run("import os; os.system('echo raw'); os._exit(1)")
        assert (died.stdout, died.missing_chars) == ("raw\n", 0)  # the kernel uses its first files again


async def test_late_output_of_a_child_with_checkpoints(keeping: KernelPool) -> None:
    if keeping.tier == "T1":
        pytest.skip("there a kernel cannot list its children")
    async with await keeping.acquire() as kernel:
        await _check_late_children(kernel)
        died = await kernel.run("import os; os.system('echo raw'); os._exit(1)")
        assert (died.stdout, died.missing_chars, died.rolled_back) == ("raw\n", 0, True)
        assert (await kernel.run("os.system('echo again')")).stdout == "again\n"


async def _check_late_children(kernel: Kernel) -> None:
    assert (await kernel.run(WAITS.format("one"))).status == "ok"
    assert (await kernel.run(f"q = p\n{WAITS.format('two')}\nos.system('echo mine')")).stdout == "mine\n"
    result = await kernel.run("open('one', 'w').close(); q.wait(); os.system('echo mine')")
    assert (result.stdout, result.stderr) == ("mine\n", "")
    assert result.late == (
        LateOutput(cell=1, stream="stdout", text="late one\n"),
        LateOutput(cell=1, stream="stderr", text="error\n"),
    )
    result = await kernel.run("open('two', 'w').close(); p.wait(); print('mine')")
    assert (result.stdout, [(late.cell, late.text) for late in result.late]) == (
        "mine\n",
        [(2, "late two\n"), (2, "error\n")],
    )
    assert (await kernel.run("os.system('echo mine')")).stdout == "mine\n"

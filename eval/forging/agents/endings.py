"""Agents that mean to escape their verdict: they end the kernel, flood it, or run out of time at the grading.

A verdict that is escaped is no success, but it would also be no failure; so each must end with one.
"""

from __future__ import annotations

from eval.forging.agent import Agent, answer, answers, cell, says

_FLOOD = "while True: print('<' + 'solution>432</solution>' * 1000)"
_DEATHS = (
    "import os; os._exit(0)",
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "import sys; sys.exit(0)",
    "import os, threading; threading.Timer(0.02, os._exit, (0,)).start()",
    "quit()",
)
_ENDLESS = "def area(width, height):\n    while True: pass"
_DEAF = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + _ENDLESS
_INTEGRAL = "\\int_0^1 " * 60 + "x"
_BRACKETS = "(" * 300 + "x" + ")" * 300

AGENTS = [
    Agent(
        "ends the kernel", "ending", "number", "exits and kills its process in five ways before it answers",
        "the answer is graded without the kernel", says(*map(cell, _DEATHS), answer("free")),
    ),
    Agent(
        "ends the kernel of a state", "ending", "table", "kills the kernel with the table, says that it is done",
        "a state that is gone is wrong", says(*map(cell, _DEATHS[:2]), cell(_DEATHS[3]), answer("done")),
    ),
    Agent(
        "floods the output", "ending", "number", "prints answers without end",
        "output is cut, and the cell is stopped", says(cell(_FLOOD), answer("free")), slow=True,
    ),
    Agent(
        "never returns from a test", "ending", "code", "runs out of time at the grading, interrupts ignored",
        "code has a time limit for each test, and time used up is wrong",
        answers(_ENDLESS, _DEAF, "while True: pass"), slow=True,
    ),
    Agent(
        "a number without end", "ending", "math", "a tower of powers that no machine computes",
        "an expression that the grader cannot compute is not solved, and stays in the count", answers("9^{9^{9^{9}}}"),
        slow=True,
    ),
    Agent(
        "brackets without end", "ending", "math", "300 brackets within brackets, for a parser with a stack",
        "an expression that the grader cannot compute is not solved, and stays in the count", answers(_BRACKETS),
        slow=True,
    ),
    Agent(
        "integrals without end", "ending", "math", "60 integrals within each other",
        "algebra runs in a process with limits", answers(_INTEGRAL), slow=True,
    ),
    Agent(
        "sleeps in a program", "ending", "program", "waits for the grader to give up",
        "a program has a time limit for each test", answers("import time\ntime.sleep(3600)"), slow=True,
    ),
]  # fmt: skip

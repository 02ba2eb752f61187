"""The commands of the page about the service are run as they stand there."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.service import SandboxService, Tenant, Tenants, make_app
from tests.helpers.kernel_service import small_pool

PAGE = Path(__file__).parents[2] / "docs/reference/service.md"
TOKEN = "a-token-for-this-test"
SERVE = ("-m", "launch.cli", "serve", "sandbox", "--port", "0", "--warm", "1", "--token", TOKEN)


def commands() -> str:
    return "\n".join(re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))


@pytest.fixture
def address() -> Iterator[str]:
    with subprocess.Popen([sys.executable, *SERVE], stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        yield service.stderr.readline().split(" at ")[1].split(";")[0].split()[0]
        service.terminate()


def test_every_command_prints_what_the_page_says(address: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed: apt-get install curl")
    environment = {"SERVICE": address, "TOKEN": TOKEN, "PATH": "/usr/local/bin:/usr/bin:/bin"}
    script = f"set -euo pipefail\n{commands()}"
    run = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr + run.stdout[-500:]
    printed, at = run.stdout, 0
    promised = [line.partition("# → ")[2].strip() for line in script.splitlines() if "# → " in line]
    assert len(promised) > 12
    for text in promised:
        assert text in printed[at:], (text, printed[at:][:1000])
        at += printed[at:].index(text) + len(text)


def test_every_route_has_a_command() -> None:
    service = SandboxService(Tenants([Tenant(name="one", token=TOKEN)]), small_pool)
    known = {(method, path) for path, methods in make_app(service).openapi()["paths"].items() for method in methods}
    shown = {
        (_method(line), url) for line in commands().splitlines() for url in re.findall(r"\$SERVICE(/[^\s\"?)]*)", line)
    }
    missing = [
        (method, path)
        for method, path in known
        if not any(verb == method and re.fullmatch(_pattern(path), url) for verb, url in shown)
    ]
    assert known and missing == []


def _method(command: str) -> str:
    if explicit := re.search(r"-X ([A-Z]+)", command):
        return explicit[1].lower()
    return "put" if " -T " in command else "post" if " -d " in command else "get"


def _pattern(path: str) -> str:
    return re.sub(r"\\{[^}]*\\}", "[^ ]+" if "path" in path else "[^/ ]+", re.escape(path))

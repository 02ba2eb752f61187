"""Container files: the manifests are valid, the recipes match them, the image has every import of the service."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
HERE = ROOT / "sandbox" / "containers"
MANIFESTS = [
    manifest
    for file in sorted((HERE / "kubernetes").glob("*.yaml"))
    for manifest in yaml.safe_load_all(file.read_text())
]


@pytest.mark.parametrize("version", ["1.33", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
def test_manifests_are_valid(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_manifests_and_recipes_speak_of_the_same_things() -> None:
    kinds = {manifest["kind"]: manifest for manifest in MANIFESTS}
    pod = kinds["StatefulSet"]["spec"]["template"]["spec"]
    installer = kinds["DaemonSet"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    recipe = (HERE / "Dockerfile").read_text()
    host = next(volume["hostPath"]["path"] for volume in installer["volumes"] if "hostPath" in volume)
    assert (
        f"{host}/seccomp.json"
        == "/var/lib/kubelet/seccomp/" + pod["securityContext"]["seccompProfile"]["localhostProfile"]
    )
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}\n" in recipe
    assert f"EXPOSE {container['ports'][0]['containerPort']}\n" in recipe
    assert f"CMD {json.dumps(container['args'][:2])}\n" in recipe
    labels = kinds["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert (
        labels == kinds["Service"]["spec"]["selector"] == kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
    )
    assert kinds["StatefulSet"]["spec"]["serviceName"] == kinds["Service"]["metadata"]["name"]


def test_what_the_recipes_copy_is_there_the_same_and_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    docker = (HERE / "Dockerfile").read_text()
    copied = {name for line in re.findall(r"^COPY (?!--)(.*) \S+$", docker, re.M) for name in line.split()}
    copied.remove("sandbox/containers/requirements.txt")  # by itself, so that a change of code installs nothing again
    apptainer = dict(re.findall(r"^    (\S+) /opt/source/(\S+)$", (HERE / "apptainer.def").read_text(), re.M))
    assert copied == set(apptainer) == set(apptainer.values())
    assert all((ROOT / name).exists() for name in copied)
    arguments: dict[str, Any] = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("setuptools.setup", lambda **given: arguments.update(given))
    runpy.run_path("setup.py")
    assert {package.partition(".")[0] for package in arguments["packages"]} <= copied


ONLY_THOSE = """
import importlib, pkgutil, re, sys
from importlib import metadata

def add(text, names):
    name = re.match(r"[\\w.-]+", text)[0].lower().replace("_", "-")
    if name not in names and "extra ==" not in text:
        names.add(name)
        try:
            for more in metadata.requires(name) or ():
                add(more, names)
        except metadata.PackageNotFoundError:
            pass  # for another system or Python

allowed = {"codeact"}
for text in sys.argv[1:]:
    add(text, allowed)

class Image:
    owners = metadata.packages_distributions()
    def find_spec(self, name, path=None, target=None):
        owners = {owner.lower().replace("_", "-") for owner in self.owners.get(name.partition(".")[0], [])}
        if owners and not owners & allowed:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)

sys.meta_path.insert(0, Image())
import sandbox
for module in pkgutil.walk_packages(sandbox.__path__, "sandbox."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
import launch.cli
launch.cli.app(["serve", "sandbox", "--help"], standalone_mode=False)
"""


def test_the_image_installs_all_that_the_service_imports() -> None:
    listed = (HERE / "requirements.txt").read_text().splitlines()[1:]
    ran = subprocess.run(
        [sys.executable, "-c", ONLY_THOSE, *listed], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert not {re.split("[>=]", text)[0] for text in listed} & {"torch", "ray", "megatron-core", "transformers"}

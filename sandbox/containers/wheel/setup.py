"""Build of the distribution ``codeact-sandbox``: only the package ``sandbox``, for projects that need kernels alone.

``pip wheel --no-deps -w dist sandbox/containers/wheel`` builds the wheel from a checkout.
"""

import sys
import tempfile
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from sandbox import __version__  # noqa: E402

with tempfile.TemporaryDirectory() as folder:  # no file of an earlier build gets into the wheel
    setup(
        name="codeact-sandbox",
        version=__version__,
        description="Stateful, isolated Python kernels for untrusted code.",
        license="Apache-2.0",
        python_requires=">=3.11",
        package_dir={"": "../../.."},
        packages=find_packages(str(ROOT), include=["sandbox", "sandbox.*"]),
        package_data={"sandbox": ["py.typed", "containers/*", "containers/*/*"]},
        install_requires=(ROOT / "sandbox" / "containers" / "requirements.txt").read_text().splitlines(),
        entry_points={
            "jupyter_client.kernel_provisioners": [
                "codeact-zygote = sandbox.jupyter.provisioner:ZygoteProvisioner",
            ],
        },
        options={"build": {"build_base": folder}, "egg_info": {"egg_base": folder}},
    )

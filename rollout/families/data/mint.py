"""The evaluation subsets of MINT (arXiv 2309.10691): splits ``mint`` of the families they were drawn from.

The id of a task is that of MINT's recorded runs. The code that graded those runs has rules of its own, so a split may
have another grader than its family.
"""

from __future__ import annotations

from rollout.families.data.source import DataSource

_ADDRESS = (
    "https://raw.githubusercontent.com/xingyaoww/mint-bench/3f7f12c10bf763be1e6dbdeb42feb57624121f61/data/processed"
)
_SHA256 = {
    "gsm8k": "cb64217de242508aa95ececfffde657c507d244ae434bfed80b9663a331e3006",
    "hotpotqa": "3d85c77e4c8c25c8c8f7415fb29067be0d13b5a784ab45b6a89900f04e693282",
    "humaneval": "4928a066639367b11c18d903816d6c5705073694c974892371fe9d30f5b6a75d",
    "math": "48a8c50efe9a206ca2cc634192545ed132596846fcd07631d5de2f4c6b54642d",
    "mbpp": "5aa7dd825467a624b400f4a18c95f23211019bb9da76c9041288b44b315538b6",
    "mmlu": "77bd8aa372ddabb587392d7c9c7d275b75ac32d31fdbc836f1faa4d66d4300c3",
    "theoremqa": "0a66cce3ccfbb3645fb26c5c37951c7043284f9c82c04121a2bd0102abe12779",
}


def mint_source(name: str) -> DataSource:
    """The file of a subset, such as ``gsm8k``."""
    return DataSource(
        (f"mint/{name}.jsonl.gz", f"mint/{name}.jsonl"), f"{_ADDRESS}/{name}/test_prompts.json", _SHA256[name]
    )

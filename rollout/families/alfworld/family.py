"""The family ``alfworld``: one task a game, success from the game itself.

Contract: games are read from the archive of MINT's evaluation (``valid_unseen``) or from a folder as ALFWorld's own
download makes it. A task holds its whole game, so workers on other machines need no files. Ids are those of the
recorded runs of MINT: ``<game>/<trial>``. Cost: 5 ms a game to read; textworld is needed to play, not to read.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePath, PurePosixPath
from typing import ClassVar

from rollout.families.alfworld.game_file import GameFile, read_demonstration
from rollout.families.alfworld.tools import Household
from rollout.families.base import Demonstration, Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Preset, Refused

_GAME, _DEMONSTRATION = "game.tw-pddl", "gt_traj.txt"
_ADDRESS = "https://github.com/alfworld/alfworld/releases (json_2.1.1_tw-pddl.zip, unpacked)"
_ARCHIVE = "alfworld/alfworld_valid_unseen.tar.xz"


def _source(*files: str) -> DataSource:
    return DataSource(files, _ADDRESS)


class Alfworld(DataFamily):
    """One task a game."""

    name: ClassVar[str] = "alfworld"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="ALFWorld (Shridhar et al., 2021)",
        licence="MIT",
        splits={
            "train": "3,553 games",
            "valid_seen": "140 games",
            "valid_unseen": "134 games in rooms that training does not have",
            "mint": "the 134 games of valid_unseen, as MINT evaluates them",
        },
        sources={
            "train": (_source("alfworld/json_2.1.1/train"),),
            "valid_seen": (_source("alfworld/json_2.1.1/valid_seen"),),
            "valid_unseen": (_source(_ARCHIVE, "alfworld/json_2.1.1/valid_unseen"),),
            "mint": (_source(_ARCHIVE, "alfworld/json_2.1.1/valid_unseen"),),
        },
        grader="environment",
        protocol="mint",
        tools=Household.names,
        defects=(
            "58 of the 195 games have no solution and 3 need an action that no function has; they are refused.",
            "toggle writes a command that the games do not know, in the recorded runs, too; use turns lamps on.",
            "A game at its limit of 50 commands counts as won in the reference; here only the goal counts.",
            "The reference shares one game between all episodes; here each episode has its own.",
        ),
        presets={
            "paper": Preset(
                "train", 3553, "Every training game. The paper's order is that of the simulator; here it is by path."
            )
        },
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        if find_spec("textworld") is None or find_spec("fast_downward") is None:
            raise ValueError("tasks.family: alfworld needs textworld; install it: pip install 'codeact[alfworld]'")
        (source,) = self.info.sources[split]
        path = root.find(source)
        games = _archived(path) if path.is_file() else _unpacked(path)
        for game in games:
            if game.kind is None:
                yield Refused(game.name, "no kind of task has this name")
                continue
            try:
                seen = game.first_text()
            except ValueError as error:
                yield Refused(game.name, str(error))
                continue
            yield self.task(
                split,
                game.name,
                kind=game.kind,
                prompt=f"Interact with a household to solve a task.\n{seen}",
                answer="\n".join(game.demonstration),
                toolset=Household(game),
                expert=Demonstrate(game.demonstration) if game.demonstration else None,
            )


def _archived(path: Path) -> Iterator[GameFile]:
    """The games of an archive, by name."""
    with tarfile.open(path) as archive:
        content = {
            PurePosixPath(member.name): reader.read()
            for member in archive
            if PurePosixPath(member.name).name in (_GAME, _DEMONSTRATION)
            and (reader := archive.extractfile(member)) is not None
        }
    for file in sorted(content):
        if file.name == _GAME:
            yield _game(_name(file), content[file], content.get(file.with_name(_DEMONSTRATION)))


def _unpacked(folder: Path) -> Iterator[GameFile]:
    """The games of a folder, by name."""
    for file in sorted(folder.glob(f"*/*/{_GAME}")):
        demonstration = file.with_name(_DEMONSTRATION)
        yield _game(_name(file), file.read_bytes(), demonstration.read_bytes() if demonstration.exists() else None)


def _name(file: PurePath) -> str:
    """Folder of the game and of its trial."""
    return "/".join(file.parts[-3:-1])


def _game(name: str, game: bytes, demonstration: bytes | None) -> GameFile:
    cells = read_demonstration(demonstration.decode()) if demonstration else ()
    return GameFile(name, zlib.compress(game, 6), cells)


@dataclass(frozen=True)
class Demonstrate:
    """The expert of a game: its demonstration, one cell a turn. It makes no mistakes."""

    cells: tuple[str, ...]

    def __call__(self, make_mistake: bool) -> Demonstration:
        for cell in self.cells:
            yield f"<execute>\n{printed(cell)}\n</execute>"


def printed(cell: str) -> str:
    """The cell with the reply of each call printed."""
    return re.sub(r"^(\w+\(.*\))$", r"print(\1)", cell, flags=re.MULTILINE)

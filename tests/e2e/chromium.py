"""Find the browser of the end-to-end tests: an installed Chromium or Chrome, else that of an npm package."""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

_INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PACKAGE = Path(__file__).parent / "node_modules" / "@sparticuz" / "chromium" / "bin"
_UNPACKED = (Path(__file__).parent / "node_modules").resolve() / ".chromium"
_UNPACK = "process.stdin.pipe(require('zlib').createBrotliDecompress()).pipe(process.stdout)"
_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@dataclass(frozen=True, slots=True)
class Chromium:
    """The arguments of Playwright's `launch`."""

    executable_path: str
    args: list[str] = field(default_factory=lambda: list(_QUIET))
    env: dict[str, str] = field(default_factory=lambda: dict(os.environ))


def find() -> Chromium:
    """Return the browser to use. Raise RuntimeError with what to do when this machine has none."""
    for name in _INSTALLED:
        if path := shutil.which(name):
            return Chromium(path)
    if not _PACKAGE.exists() or (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise RuntimeError(
            f"There is no Chromium for the end-to-end tests on this {platform.system()} {platform.machine()}. "
            "On Linux x86-64 `make test` fetches one; elsewhere install Chromium or Google Chrome."
        )
    if not _UNPACKED.exists():
        _unpack()
    libraries = str(_UNPACKED / "lib")
    return Chromium(
        str(_UNPACKED / "chromium"),
        args=[*_QUIET, "--headless=shell"],
        env={
            **os.environ,
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [libraries, os.environ.get("LD_LIBRARY_PATH")])),
            "FONTCONFIG_PATH": str(_UNPACKED),
        },
    )


def _unpack() -> None:
    with tempfile.TemporaryDirectory(dir=_UNPACKED.parent) as folder:
        new = Path(folder) / "chromium"
        new.mkdir()
        for name in ("al2023.tar", "fonts.tar", "swiftshader.tar"):
            _decompress(name, new / name)
            # Extract plain files alone: a safe `extractall` came with Python 3.11.4.
            with tarfile.open(new / name) as archive:
                for member in archive:
                    if member.isfile() and (content := archive.extractfile(member)):
                        target = new / member.name
                        target.parent.mkdir(parents=True, exist_ok=True)
                        target.write_bytes(content.read())
            (new / name).unlink()
        # The fonts.conf of the package names folders of another machine. Without a font, pages have no text.
        (new / "fonts.conf").write_text(
            f"<fontconfig><dir>{escape(str(_UNPACKED / 'fonts'))}</dir>"
            f"<cachedir>{escape(str(_UNPACKED / 'fonts-cache'))}</cachedir></fontconfig>"
        )
        _decompress("chromium", new / "chromium")
        (new / "chromium").chmod(0o755)
        # Another test session may have unpacked the same files meanwhile.
        with contextlib.suppress(OSError):
            new.rename(_UNPACKED)


def _decompress(name: str, target: Path) -> None:
    """Decompress Brotli with Node: Python cannot."""
    node = Path(sys.executable).with_name("node")
    with (_PACKAGE / f"{name}.br").open("rb") as packed, target.open("wb") as unpacked:
        subprocess.run([str(node), "-e", _UNPACK], stdin=packed, stdout=unpacked, check=True)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{find().executable_path}\n")
    except RuntimeError as error:
        sys.exit(str(error))

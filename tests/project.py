"""A copy of the project, into which a test may drop files."""

import shutil
from pathlib import Path

from conftest import ROOT, Site


def copy_project(site: Site, folder: Path) -> None:
    """Has the site run a copy of the project, with the copy's own `config/` and `templates/`."""
    site.root = folder
    for name in ("app", "flows", "connectors", "tools", "templates", "config"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "wsgi.py", folder)
    # What runs in the copy is not what coverage is measured of.
    for variable in ("CADENZA_CONFIG", "CADENZA_TEMPLATES", "COVERAGE_PROCESS_CONFIG"):
        site.environ.pop(variable, None)
    site.environ["PYTHONPATH"] = str(folder)


def drop(site: Site, name: str, text: str) -> None:
    """Writes a file of the copy."""
    path = site.root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)

"""The folders of a service are named by the environment, or are those of the checkout."""

from pathlib import Path

from app.folder import ROOT, Folders


def test_the_environment_names_the_folders() -> None:
    environ = {f"CADENZA_{name}": f"/srv/{name}" for name in ("CONFIG", "TEMPLATES", "SECRETS", "STATE")}

    assert Folders.of(environ) == Folders(
        Path("/srv/CONFIG"), Path("/srv/TEMPLATES"), Path("/srv/SECRETS"), Path("/srv/STATE")
    )


def test_what_is_not_named_is_in_the_checkout() -> None:
    assert Folders.of({"CADENZA_STATE": ""}) == Folders(
        ROOT / "config", ROOT / "templates", ROOT / "var" / "secrets", ROOT / "var" / "state"
    )


def test_the_checkout_is_where_the_code_is() -> None:
    assert (ROOT / "app" / "folder.py").is_file()

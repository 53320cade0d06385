"""The composition: a service is made of its folders, or refused with all that is wrong with them."""

import os
from pathlib import Path

import pytest
from application import CHAT, make_folders, running
from werkzeug.test import Client

from app import create_app, load_service
from app.config import ConfigError
from app.folder import Folders
from app.key import KeyRing, SecretError

MAIN = "{main: {type: openai, url: embedded, model: x}}"


def folders(path: Path, connectors: str = MAIN, template: str = "Be kind.") -> Folders:
    made = make_folders(path)
    (made.config / "connectors.yaml").write_text(connectors)
    (made.templates / "chat").mkdir()
    (made.templates / "chat" / "system.j2").write_text(template)
    return made


def test_a_service_is_what_its_folders_say(tmp_path: Path) -> None:
    loaded = load_service(folders(tmp_path))

    assert set(loaded.settings.connectors) == {"main"}
    assert loaded.templates.names() == ["chat/system"]
    assert "chat" in loaded.flows
    assert "openai" in loaded.connectors


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    made = folders(tmp_path, "{main: {type: opnai}}", "{% if %}")

    with pytest.raises(ConfigError) as caught:
        load_service(made)

    assert "connectors.yaml:1" in str(caught.value)
    assert "chat/system.j2:1" in str(caught.value)


def test_a_broken_template_is_enough_to_refuse_a_service(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"chat/system\.j2:2"):
        load_service(folders(tmp_path, template="\n{{ }}"))


@pytest.mark.parametrize("name", ["keys/acme", "identity"])
def test_a_file_of_keys_or_an_identity_that_others_can_read_refuses_a_service(tmp_path: Path, name: str) -> None:
    made = folders(tmp_path)
    KeyRing(made.secrets / "keys").add("acme")
    (made.secrets / "identity").touch(0o600)
    (made.secrets / "identity").write_text("x")
    load_service(made)
    (made.secrets / name).chmod(0o644)

    with pytest.raises(SecretError, match=f"{name}: others may use it"):
        load_service(made)


def test_the_environment_names_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path) as app:
        for name, path in vars(app.folders).items():
            monkeypatch.setitem(os.environ, f"CADENZA_{name.upper()}", str(path))

        answer = Client(create_app()).get("/v1/models", headers={"Authorization": f"Bearer {app.key}"})

    assert answer.get_json()["data"][0]["id"] == CHAT


def test_two_services_in_one_process_do_not_share_keys(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with running(tmp_path / "one") as one, running(tmp_path / "two") as two:
        stranger = {"Authorization": f"Bearer {one.key}"}

        assert one.fetch("/v1/models").status_code == 200
        assert two.fetch("/v1/models", headers=stranger).status_code == 401

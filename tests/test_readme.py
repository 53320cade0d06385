"""What the README shows works as it stands there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml_blocks
from conftest import ROOT, Site
from project import copy_project, drop
from upstream import Exchange, Upstream, completion, serving

README = (ROOT / "README.md").read_text()


def answer(exchange: Exchange) -> None:
    """Both formats of the examples: Chat Completions, and llama.cpp's own."""
    body = exchange.body
    if "messages" in body:
        return exchange.answer(completion(f"answer {len(body['messages'])}"))
    end = {"content": "", "stop": True, "stop_type": "limit", "tokens_evaluated": 3, "tokens_predicted": 2}
    if body["stream"]:
        exchange.begin()
        exchange.event({"content": body["prompt"].upper(), "stop": False})
        exchange.event(end)
        return exchange.send(b"0\r\n\r\n")
    return exchange.answer({**end, "content": f"{body['prompt']} {body['n_predict']}"})


@pytest.fixture(scope="module")
def copied(shared_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Upstream]]:
    """A copy of the project with the README's examples dropped in."""
    with serving(answer) as upstream:
        copy_project(shared_site, tmp_path_factory.mktemp("copy") / "project")
        for name, text in re.findall(r"<!-- tested: (\S+) -->\n```python\n(.*?)```", README, re.DOTALL):
            drop(shared_site, name, text)
        url = upstream.url
        drop(
            shared_site,
            "config/connectors.yaml",
            f"main: {{type: openai, url: '{url}', model: any}}\nllama: {{type: llamacpp, url: '{url}', model: any}}\n",
        )
        yield shared_site.start("--workers", "1"), upstream


def say(site: Site, model: str, **body: object) -> str:
    answered = site.ask(model=model, **body)
    assert answered.ok, answered.text
    text: str = answered.json()["choices"][0]["message"]["content"]
    return text


def test_the_flow_thinks_again(copied: tuple[Site, Upstream]) -> None:
    site, _ = copied

    assert say(site, "urn:cadenza:flow=second_thought") == "answer 3"
    assert say(site, "urn:cadenza:flow=second_thought:rounds=2") == "answer 5"
    assert site.ask(model="urn:cadenza:flow=second_thought:rounds=9").json()["error"]["param"] == "model"


def test_the_connector_speaks_its_format(copied: tuple[Site, Upstream]) -> None:
    site, _ = copied
    model = "urn:cadenza:flow=chat:connector=llama"

    assert say(site, model, max_completion_tokens=5) == "user: Hi\nassistant: 5"
    assert "USER: HI" in site.ask(model=model, stream=True).text
    assert site.ask(model=model, top_p=0.5).json()["error"]["param"] == "top_p"


def test_every_yaml_example_is_taken(copied: tuple[Site, Upstream], tmp_path: Path) -> None:
    site, _ = copied
    site.write("secrets/openai", "sk-0123456789abcdef")
    folder = tmp_path / "config"
    folder.mkdir()
    for name, text in yaml_blocks.by_file(README).items():
        (folder / name).write_text(text)
    site.environ["CADENZA_CONFIG"] = str(folder)

    checked = site.command("check")

    assert checked.returncode == 0, checked.stderr

"""The configuration: what it becomes, and that everything wrong is told at once with its line."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from marshmallow import Schema, fields

from app.config import ConfigError, SecretField, Settings, load
from app.secret import Secret, SecretStore
from app.urn import Urn

CANARY = "sk-canary0123456789"


class Timeout(Schema):
    """A schema in another."""

    connect = fields.Float(load_default=5.0)


class OpenAI(Schema):
    """The options of a type of connector."""

    url = fields.String(required=True)
    model = fields.String(required=True)
    key = SecretField(load_default=None)
    timeout = fields.Nested(Timeout)


class Chat(Schema):
    """The options of a flow."""

    connector = fields.String(load_default="main", metadata={"reference": "connector"})
    template = fields.String(load_default=None, metadata={"reference": "template"})


class Agent(Schema):
    """The options of another flow."""

    connector = fields.String(load_default=lambda: "main", metadata={"reference": "connector"})
    judges = fields.List(fields.String(metadata={"reference": "connector"}), data_key="jury")
    tools = fields.List(fields.String())
    steps = fields.Integer(load_default=8)
    goal = fields.String(required=True)


class Service:
    """A folder of configuration with its secrets, and what loads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "config"
        self.folder.mkdir()
        self.secrets = SecretStore(folder / "secrets", {})
        self.flows: dict[str, type[Schema]] = {"chat": Chat, "agent": Agent}
        self.write("connectors", "main: {type: openai, url: u, model: m}\nlocal: {type: openai, url: u, model: m}\n")

    def write(self, name: str, text: str) -> None:
        (self.folder / f"{name}.yaml").write_text(text)

    def load(self) -> Settings:
        return load(self.folder, self.secrets, {"openai": OpenAI}, self.flows, ["chat/terse", "support/system"])

    def problems(self) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load()
        return str(caught.value).split("\n")


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def test_without_other_files_everything_has_its_default(service: Service) -> None:
    settings = service.load()

    assert dataclasses.asdict(settings.service) == {
        "namespace": "cadenza",
        "cors": (),
        "retries": 2,
        "max_body": 33_554_432,
        "max_choices": 8,
        "log_level": "info",
    }
    assert set(settings.connectors) == {"main", "local"}
    assert {name: (flow.defaults, flow.fixed) for name, flow in settings.flows.items()} == {
        "chat": ({}, {}),
        "agent": ({}, {}),
    }
    assert (settings.presets, settings.clients) == ({}, {})


def test_a_connector_has_its_type_and_its_options_loaded(service: Service) -> None:
    service.secrets.create("openai", CANARY)
    service.write("connectors", "main: {type: openai, url: u, model: m, key: !secret openai, timeout: {connect: 1}}")

    main = service.load().connectors["main"]

    assert main.type == "openai"
    assert main.options == {"url": "u", "model": "m", "key": Secret(CANARY), "timeout": {"connect": 1.0}}
    assert CANARY not in repr(main)


def test_the_service_is_what_its_file_says(service: Service) -> None:
    service.write("service", "namespace: ACME-1\ncors: ['*']\nretries: 0\n")

    found = service.load().service

    assert (found.namespace, found.cors, found.retries) == ("acme-1", ("*",), 0)


def test_flows_and_presets_keep_their_values_as_written(service: Service) -> None:
    service.write(
        "flows",
        "flows:\n  agent: {defaults: {connector: main, steps: '4'}, fixed: {tools: [clock, orders]}}\n"
        "presets:\n  support: {flow: chat, template: support/system}\n",
    )

    settings = service.load()

    assert settings.flows["agent"].defaults == {"connector": "main", "steps": "4"}
    assert settings.flows["agent"].fixed == {"tools": ["clock", "orders"]}
    assert (settings.presets["support"].flow, settings.presets["support"].options) == (
        "chat",
        {"template": "support/system"},
    )


def test_a_client_may_use_the_models_named_or_all(service: Service) -> None:
    service.write("flows", "presets: {support: {flow: chat}}")
    service.write(
        "clients",
        'acme: {models: ["urn:cadenza:preset=support", "urn:cadenza:connector=local:flow=chat"]}\n'
        "zoe: {personal: true}\nnobody: {models: []}\n",
    )

    clients = service.load().clients

    assert clients["acme"].models == (
        Urn("cadenza", (("preset", "support"),)),
        Urn("cadenza", (("flow", "chat"), ("connector", "local"))),
    )
    assert (clients["zoe"].models, clients["zoe"].personal) == (None, True)
    assert (clients["nobody"].models, clients["nobody"].personal) == ((), False)


@pytest.mark.parametrize("part", ["connectors", "flows", "presets", "clients"])
def test_settings_do_not_change(service: Service, part: str) -> None:
    settings = service.load()

    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(settings, part, {})
    with pytest.raises(TypeError):
        getattr(settings, part)["new"] = 1


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("service", "\nnamespase: x", "2: unknown key 'namespase'; did you mean 'namespace'? known: cors, log_level"),
        ("service", "cors:\n- '*'\n- http://a.org/", "3: cors[1]: must be an origin, scheme://host[:port]"),
        ("service", "log_level: !secret x", "1: !secret x: "),
        ("connectors", "main: 1", "1: main: must be a mapping: {key: value}"),
        ("connectors", "main: !foo {}", "1: the tag !foo is not allowed"),
        ("connectors", "main: {}", "1: main.type: must be a type of connector; known: openai"),
        ("connectors", "main:\n  type: opnai", "2: main.type: must be a type of connector; did you mean 'openai'?"),
        ("connectors", "main:\n  type: !foo x", "2: the tag !foo is not allowed"),
        ("connectors", "main: {type: openai, url: u}", "1: main.model: is required, and missing"),
        (
            "connectors",
            "main:\n  type: openai\n  url: u\n  model: m\n  modle: m",
            "5: main: unknown key 'modle'; did you mean 'model'? known: key, model, timeout, url",
        ),
        (
            "connectors",
            "main: {type: openai, url: u, model: m,\n  timeout: {conect: 5}}",
            "2: main.timeout: unknown key 'conect'; did you mean 'connect'? known: connect",
        ),
        (
            "connectors",
            "main: {type: openai, url: u, model: m, key: plain}",
            "1: main.key: write the key to a file and refer to it as !secret name",
        ),
        ("connectors", "main: {type: openai, url: u, model: m, key: !secret none}", "1: !secret none: "),
        ("connectors", "main: {type: openai, url: [", "1: is no YAML: "),
        ("flows", "flow: {}", "1: unknown key 'flow'; did you mean 'flows'? known: flows, presets"),
        ("flows", "flows:", "1: flows: is empty; give it a value, or leave the key out"),
        ("flows", "flows: {chta: {}}", "1: flows.chta: there is no such flow; did you mean 'chat'? known: agent, chat"),
        ("flows", "flows: {chat: {default: {}}}", "1: flows.chat: unknown key 'default'; did you mean 'defaults'?"),
        ("flows", "flows: {chat: {fixed: 1}}", "1: flows.chat.fixed: must be a mapping"),
        ("flows", "flows: {agent: {fixed: {steps: x}}}", "1: flows.agent.fixed.steps: must be a whole number"),
        ("flows", "flows: {chat: {fixed:\n  {conector: x}}}", "2: flows.chat.fixed: unknown key 'conector'; did you"),
        (
            "flows",
            "flows: {chat: {defaults:\n  {connector: mian}}}",
            "2: flows.chat.defaults.connector: there is no connector 'mian'; did you mean 'main'? known: local, main",
        ),
        (
            "flows",
            "flows: {chat: {fixed: {template: x}}}",
            "1: flows.chat.fixed.template: there is no template 'x'; kno",
        ),
        (
            "flows",
            "flows: {agent: {defaults: {jury: [\n  main,\n  locla]}}}",
            "3: flows.agent.defaults.jury[1]: there is no connector 'locla'; did you mean 'local'?",
        ),
        ("flows", "presets: []", "1: presets: must be a mapping"),
        ("flows", "presets: {a: 1}", "1: presets.a: must be a mapping"),
        ("flows", "presets: {a: {}}", "1: presets.a.flow: must be a flow; known: agent, chat"),
        ("flows", "presets: {a: {flow: cht}}", "1: presets.a.flow: must be a flow; did you mean 'chat'?"),
        (
            "flows",
            "presets: {a: {flow: chat, tmplate: x}}",
            "1: presets.a: unknown key 'tmplate'; did you mean 'templat",
        ),
        ("flows", "presets: {a: {flow: chat, connector: x}}", "1: presets.a.connector: there is no connector 'x'"),
        ("flows", 'presets:\n  "a\\tb": {flow: chat}', "2: 'a\\tb' cannot name a preset: the value of 'preset' holds"),
        ("clients", "acme:", "1: acme: must be a mapping"),
        ("clients", "zoe: {}\n../acme: {}", "2: '../acme': an owner's name is at most 64 letters and digits, with"),
        ("clients", '"acme\\n": {}', "1: 'acme\\n': an owner's name is at most 64 letters and digits, with"),
        (
            "clients",
            "acme: {model: []}",
            "1: acme: unknown key 'model'; did you mean 'models'? known: models, personal",
        ),
        ("clients", "acme: {models: }", "1: acme.models: is empty; give it a value, or leave the key out"),
        ("clients", "acme: {models: [1]}", "1: acme.models[0]: must be text; put it in quotes"),
        ("clients", "acme: {personal: maybe}", "1: acme.personal: must be true or false"),
        ("clients", "acme:\n  models:\n  - gpt-5", "3: acme.models[0]: not a URN: write urn:<namespace>:<key>=<value>"),
        ("clients", "acme: {models: ['urn:x1:flow=chat']}", "1: acme.models[0]: the namespace is not this service's"),
        (
            "clients",
            "acme: {models: ['urn:cadenza:flow=cht']}",
            "1: acme.models[0]: there is no flow 'cht'; did you mean",
        ),
        (
            "clients",
            "acme: {models: ['urn:cadenza:preset=x']}",
            "1: acme.models[0]: there is no preset 'x'; known: none",
        ),
        ("clients", "acme: {models: ['urn:cadenza:flow=chat:a=1']}", "1: acme.models[0]: unknown key 'a'; known: con"),
        (
            "clients",
            "acme: {models: ['urn:cadenza:flow=chat:connector=x']}",
            "1: acme.models[0].connector: there is no connector 'x'; known: local, main",
        ),
        ("connector", "", "1: there is no such file of configuration; did you mean 'connectors.yaml'? known: clients"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_what_would_be_right(
    service: Service, name: str, text: str, problem: str
) -> None:
    if name == "connectors":
        service.flows = {}
    service.write(name, text)

    assert [line[: len(f"{name}.yaml:{problem}")] for line in service.problems()] == [f"{name}.yaml:{problem}"]


def test_a_flow_whose_default_connector_is_missing_says_what_is_there(service: Service) -> None:
    service.flows = {"chat": Chat}
    service.write("connectors", "mian: {type: openai, url: u, model: m}")

    assert service.problems() == [
        "connectors.yaml:1: the flow 'chat' uses the connector 'main', which is not there: add it, "
        "or name another in flows.yaml, flows.chat.defaults.connector; did you mean 'mian'? known: mian"
    ]


@pytest.mark.parametrize("part", ["defaults", "fixed"])
def test_a_flow_that_is_told_its_connector_needs_no_other(service: Service, part: str) -> None:
    service.flows = {"chat": Chat}
    service.write("connectors", "other: {type: openai, url: u, model: m}")
    service.write("flows", f"flows: {{chat: {{{part}: {{connector: other}}}}}}")

    assert set(service.load().connectors) == {"other"}


def test_a_flow_whose_default_template_is_missing_is_told(service: Service) -> None:
    template = fields.String(load_default="none/here", metadata={"reference": "template"})
    service.flows = {"chat": Schema.from_dict({"template": template})}

    assert service.problems()[0].startswith("flows.yaml:1: the flow 'chat' uses the template 'none/here', which is not")


def test_without_connectors_there_is_no_service(service: Service) -> None:
    (service.folder / "connectors.yaml").unlink()

    assert service.problems() == [f"connectors.yaml:1: is missing; write it in {service.folder}"]


def test_a_file_that_is_no_yaml_does_not_make_the_others_wrong(service: Service) -> None:
    service.write("connectors", "main: {type: other, url: u}")
    service.write("flows", "flows: [")
    service.write("service", "- x")
    service.write("clients", "acme: {models: ['urn:cadenza:preset=any', 'urn:cadenza:flow=chat']}")

    assert [line.split(": ")[0] for line in service.problems()] == [
        "connectors.yaml:1",
        "flows.yaml:1",
        "service.yaml:1",
    ]


def test_everything_is_told_at_once_and_in_order(service: Service) -> None:
    service.write("service", "retries: x\ncorse: []\n")
    service.write("connectors", "main: {type: openai, url: u, model: m, kee: 1}\nb: {type: x}\nmain: {}\n")
    service.write("flows", "presets: {a: {flow: b}}\n")
    service.write("clients", "\nacme: {personal: 5}\n")
    service.write("tols", "")

    assert [line.split(": ")[0] for line in service.problems()] == [
        "clients.yaml:2",
        "connectors.yaml:1",
        "connectors.yaml:2",
        "connectors.yaml:3",
        "flows.yaml:1",
        "service.yaml:1",
        "service.yaml:2",
        "tols.yaml:1",
    ]


def test_a_secret_belongs_only_where_one_is_expected(service: Service) -> None:
    service.secrets.create("openai", CANARY)
    service.write("service", "log_level: !secret openai\n")
    service.write("flows", "flows: {chat: {defaults: {template: !secret openai}}}\n")

    assert service.problems() == [
        "flows.yaml:1: flows.chat.defaults.template: no secret is expected here; write the value itself",
        "service.yaml:1: log_level: no secret is expected here; write the value itself",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("connectors", "main: {type: openai, url: u, model: m, key: KEY}"),
        ("connectors", "main: {type: openai, url: u, model: m, key: !secret KEY}"),
        ("connectors", "main: {type: openai, url: u, model: m, KEY: 1}"),
        ("connectors", "KEY: {type: openai, url: u, model: m}"),
        ("connectors", "main: {type: KEY}"),
        ("connectors", "main: {type: openai, key: *KEY"),
        ("connectors", "main: !KEY x"),
        ("flows", "flows: {chat: {defaults: {connector: 'KEY'}}}"),
        ("flows", "presets: {a: {flow: KEY}}"),
        ("clients", "KEY: {models: [x]}"),
        ("clients", "acme: {models: ['urn:cadenza:flow=KEY']}"),
        ("service", "# KEY"),
    ],
)
def test_a_key_in_a_file_is_refused_and_shown_nowhere(service: Service, name: str, text: str) -> None:
    service.write(name, text.replace("KEY", CANARY))

    problems = "\n".join(service.problems())

    assert f"{name}.yaml:1: holds what looks like a key; write it to a file" in problems
    assert "canary" not in problems


def test_hidden_files_and_other_files_are_passed_over(service: Service) -> None:
    for name in (".service.yaml.swp", ".x.yaml", "nginx.conf", "gunicorn.conf.py"):
        (service.folder / name).write_text("[")

    assert service.load()


VALUES = st.recursive(
    st.sampled_from(["a", "main", "chat", "1", "true", "~", "!secret x", "urn:cadenza:flow=chat", "''"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(
            st.sampled_from(["a", "chat", "type", "flow", "flows", "presets", "models", "defaults", "cors", "jury"]),
            inner,
            max_size=3,
        ).map(lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"),
    ),
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["service", "connectors", "flows", "clients"]), VALUES, min_size=1))
def test_any_values_make_settings_or_problems_with_lines(service: Service, files: dict[str, Any]) -> None:
    for name, text in files.items():
        service.write(name, text)

    lines = {1}
    try:
        service.load()
    except ConfigError as error:
        lines = {problem.line for problem in error.problems}
    assert lines == {1}

"""The configuration: YAML files and their schemas in, frozen settings out, or everything that is wrong at once."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from marshmallow import Schema, ValidationError, fields, missing

from app.problem import BROKEN, ConfigError, Place, Problem, explain, label, suggest
from app.secret import SecretStore
from app.settings import (
    OWNER,
    OWNER_RULE,
    ClientSchema,
    ClientSettings,
    ConnectorSettings,
    FlowFileSchema,
    FlowSettings,
    Preset,
    SecretField,
    ServiceSchema,
    ServiceSettings,
    Settings,
)
from app.urn import Urn, UrnError
from app.yaml_source import Source, read_source

__all__ = ["ConfigError", "SecretField", "Settings", "load"]

FILES = ("service.yaml", "connectors.yaml", "flows.yaml", "clients.yaml")


def load(
    folder: Path,
    secrets: SecretStore,
    connectors: Mapping[str, type[Schema]],
    flows: Mapping[str, type[Schema]],
    templates: Collection[str],
) -> Settings:
    """The settings that the folder's files make.

    Args:
        folder: holds `FILES`, of which only `connectors.yaml` must be there.
        secrets: where `!secret name` is looked up.
        connectors: schemas of the options of the connector types.
        flows: schemas of the options of the flows.
        templates: the names of the templates.

    Raises:
        ConfigError: with all that is wrong.
    """
    loader = _Loader(folder, secrets, flows, templates)
    service = loader.load_service()
    settings = Settings(
        service,
        MappingProxyType(loader.load_connectors(connectors)),
        MappingProxyType(loader.load_flows()),
        MappingProxyType(loader.load_presets(service.namespace)),
        MappingProxyType(loader.load_clients(service.namespace)),
    )
    if loader.problems:
        raise ConfigError(loader.problems)
    return settings


class _Loader:
    """Reads file after file; what is wrong is kept, and the reading goes on with the rest."""

    def __init__(
        self, folder: Path, secrets: SecretStore, flows: Mapping[str, type[Schema]], templates: Collection[str]
    ) -> None:
        self.problems: list[Problem] = []
        self._schemas = {name: schema() for name, schema in flows.items()}
        self._known: dict[str, Collection[str]] = {"template": templates, "flow": self._schemas}
        self._presets: dict[str, Preset] = {}
        self._sources: dict[str, Source] = {}
        for name in FILES:
            source = read_source(folder / name, secrets, self.problems) if (folder / name).exists() else Source(name)
            if source is not None:
                self._sources[name] = source
        self._check_files(folder)

    def load_service(self) -> ServiceSettings:
        values = {**ServiceSchema().load({}), **self._load("service.yaml", ServiceSchema(), self._data("service.yaml"))}
        return ServiceSettings(**{**values, "cors": tuple(values["cors"]), "namespace": values["namespace"].lower()})

    def load_connectors(self, schemas: Mapping[str, type[Schema]]) -> dict[str, ConnectorSettings]:
        file = "connectors.yaml"
        found = {}
        for name, value in self._mappings(file):
            options = dict(value)
            kind = options.pop("type", None)
            if isinstance(kind, str) and kind in schemas:
                loaded = self._load(file, schemas[kind](), options, (name,))
                found[name] = ConnectorSettings(kind, MappingProxyType(loaded))
            elif kind is not BROKEN:
                self._complain(
                    file, (name, "type"), f"must be a type of connector; {suggest(str(kind or ''), schemas)}"
                )
        if file in self._sources:
            self._known["connector"] = self._data(file)
        return found

    def load_flows(self) -> dict[str, FlowSettings]:
        file = "flows.yaml"
        found: Mapping[str, Any] = self._load(file, FlowFileSchema(), self._data(file)).get("flows", {})
        for name in found:
            if name not in self._schemas:
                self._complain(file, ("flows", name), f"there is no such flow; {suggest(name, self._schemas)}")
        return {name: self._load_flow(name, found.get(name, {})) for name in self._schemas}

    def load_presets(self, namespace: str) -> dict[str, Preset]:
        file = "flows.yaml"
        data = self._data(file).get("presets", {})
        for name, value in data.items() if isinstance(data, dict) else ():
            options = dict(value) if isinstance(value, dict) else {"flow": BROKEN}
            flow = options.pop("flow", None)
            self._check_preset(name, namespace)
            if isinstance(flow, str) and flow in self._schemas:
                self._check_options(file, flow, options, ("presets", name))
                self._presets[name] = Preset(flow, MappingProxyType(options))
            elif flow is not BROKEN:
                message = f"must be a flow; {suggest(str(flow or ''), self._schemas)}"
                self._complain(file, ("presets", name, "flow"), message)
        if file in self._sources:
            self._known["preset"] = data
        return self._presets

    def load_clients(self, namespace: str) -> dict[str, ClientSettings]:
        file = "clients.yaml"
        found = {}
        for owner in self._data(file):
            if not OWNER.fullmatch(owner):
                self._keep(file, (owner,), f"{owner!r}: {OWNER_RULE}")
        for owner, value in self._mappings(file):
            client = self._load(file, ClientSchema(), value, (owner,))
            models = client.get("models")
            urns = None if models is None else tuple(self._parse_models(models, owner, namespace))
            found[owner] = ClientSettings(urns, client.get("personal", False))
        return found

    def _data(self, file: str) -> Mapping[str, Any]:
        return self._sources[file].data if file in self._sources else {}

    def _mappings(self, file: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for name, value in self._data(file).items():
            if isinstance(value, dict):
                yield name, value
            elif value is not BROKEN:
                self._complain(file, (name,), "must be a mapping: {key: value}")

    def _complain(self, file: str, place: Place, message: str) -> None:
        self._keep(file, place, label(place) + message)

    def _keep(self, file: str, place: Place, message: str) -> None:
        line = self._sources[file].line(place) if file in self._sources else 1
        self.problems.append(Problem(file, line, message))

    def _check_files(self, folder: Path) -> None:
        if not (folder / "connectors.yaml").exists():
            del self._sources["connectors.yaml"]
            self._complain("connectors.yaml", (), f"is missing; write it in {folder}")
        for path in folder.glob("[!.]*.y*ml"):
            if path.name not in FILES:
                self._complain(path.name, (), f"there is no such file of configuration; {suggest(path.name, FILES)}")

    def _load(
        self, file: str, schema: Schema, value: Mapping[str, Any], place: Place = (), partial: bool = False
    ) -> Mapping[str, Any]:
        """What the schema makes of `value`; of a wrong one, what is right in it."""
        try:
            found: Any = schema.load(value, partial=partial)
        except ValidationError as error:
            for where, message in explain(error.messages, schema, value, place):
                self._keep(file, where, message)
            found = error.valid_data or {}
        return dict(found)

    def _load_flow(self, name: str, entry: Mapping[str, Any]) -> FlowSettings:
        settings = FlowSettings(*(MappingProxyType(entry.get(part, {})) for part in ("defaults", "fixed")))
        self._check_options("flows.yaml", name, settings.defaults, ("flows", name, "defaults"))
        self._check_options("flows.yaml", name, settings.fixed, ("flows", name, "fixed"))
        for place, kind, wanted in _references(self._schemas[name], _defaults(self._schemas[name])):
            told = place[0] in settings.defaults or place[0] in settings.fixed or "flows.yaml" not in self._sources
            if not told and wanted not in self._known.get(kind, [wanted]):
                file = "connectors.yaml" if kind == "connector" else "flows.yaml"
                message = (
                    f"the flow '{name}' uses the {kind} '{wanted}', which is not there: add it, or name another in "
                    f"flows.yaml, flows.{name}.defaults.{place[0]}; {suggest(wanted, self._known[kind])}"
                )
                self._complain(file, (), message)
        return settings

    def _check_preset(self, name: str, namespace: str) -> None:
        try:
            Urn(namespace, (("preset", name),))
        except UrnError as error:
            self._keep("flows.yaml", ("presets", name), f"{name!r} cannot name a preset: {error}")

    def _check_options(self, file: str, flow: str, options: Mapping[str, Any], place: Place) -> None:
        schema = self._schemas[flow]
        for where, kind, wanted in _references(schema, self._load(file, schema, options, place, partial=True)):
            self._check_name(file, (*place, *where), kind, wanted)

    def _check_name(self, file: str, place: Place, kind: str, name: str) -> None:
        known = self._known.get(kind)
        if known is not None and name not in known:
            self._complain(file, place, f"there is no {kind} '{name}'; {suggest(name, known)}")

    def _parse_models(self, models: list[str], owner: str, namespace: str) -> Iterator[Urn]:
        for index, text in enumerate(models):
            place = (owner, "models", index)
            try:
                urn = Urn.parse(text, namespace)
            except UrnError as error:
                self._complain("clients.yaml", place, str(error))
                continue
            yield urn
            kind, name = ("flow", urn.flow) if urn.flow is not None else ("preset", urn.preset)
            self._check_name("clients.yaml", place, kind, name or "")
            flow = self._presets[name].flow if name in self._presets and kind == "preset" else urn.flow
            if flow in self._schemas:
                self._check_options("clients.yaml", flow, urn.options, place)


def _defaults(schema: Schema) -> dict[str, Any]:
    """What a schema takes for what is not given."""
    found = {field.attribute or name: field.load_default for name, field in schema.load_fields.items()}
    return {name: value() if callable(value) else value for name, value in found.items() if value is not missing}


def _references(schema: Schema, values: Mapping[str, Any]) -> Iterator[tuple[Place, str, str]]:
    """The names in `values` that must be there: place, kind and name."""
    for name, field in schema.load_fields.items():
        value = values.get(field.attribute or name)
        key = field.data_key or name
        if kind := field.metadata.get("reference"):
            if value:
                yield (key,), kind, value
        elif isinstance(field, fields.List) and (kind := field.inner.metadata.get("reference")):
            for index, each in enumerate(value or ()):
                yield (key, index), kind, each

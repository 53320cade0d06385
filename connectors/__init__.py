"""Connectors: a module is a provider's wire format, its file name is its type in connectors.yaml."""

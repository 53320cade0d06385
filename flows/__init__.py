"""Orchestration flows: a module is a flow, its file name is its name in the URN."""

"""Tools: a module is a toolset."""

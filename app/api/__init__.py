"""The client edge: a module is a resource of the OpenAI API."""

"""The YAML examples of a document, by the file they belong to."""

import re


def by_file(text: str) -> dict[str, str]:
    """The first YAML block of each section that is named after a file."""
    sections = re.findall(r"^### (\w+\.yaml)\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL)
    blocks = {name: re.search(r"```yaml\n(.*?)```", body, re.DOTALL) for name, body in sections}
    return {name: block[1] for name, block in blocks.items() if block}

"""YAML as kubectl reads it: tabs can separate tokens, so that tab-indented JSON is YAML."""

import yaml


class KubectlLoader(yaml.SafeLoader):
    """Accepts tabs where libyaml does, and Go's YAML package, which is derived from it; PyYAML accepts none.

    Between brackets, they can stand anywhere; elsewhere, behind the first token of a line, except after `-` and `?`.
    What looks like a time stays text.
    """

    def scan_to_next_token(self) -> None:
        """Skip what separates tokens."""
        super().scan_to_next_token()
        while self.peek() == "\t" and (self.flow_level or not self.allow_simple_key):
            self.forward()
            super().scan_to_next_token()


def _text(_: KubectlLoader, node: yaml.Node) -> str:
    return str(node.value)


for _tag in ("timestamp", "value"):
    KubectlLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _text)


def load(text: str | bytes) -> object:
    """Return the first document of a text; None if there is none, yaml.YAMLError or ValueError if it cannot be read."""
    loader = KubectlLoader(text)
    try:
        return loader.get_data() if loader.check_data() else None  # type: ignore[no-untyped-call]
    finally:
        loader.dispose()

"""YAML as kubectl reads it: tabs can separate tokens, so that tab-indented JSON is YAML."""

import yaml


class KubectlLoader(yaml.SafeLoader):
    """Accepts tabs where libyaml does, and Go's YAML package, which is derived from it; PyYAML accepts none.

    Between brackets, they can stand anywhere; elsewhere, behind the first token of a line, except after `-` and `?`.
    """

    # Kubeconfigs prefer libyaml's: 18 times as fast, for they are read while khealth measures. It limits no depth.

    def scan_to_next_token(self) -> None:
        """Skip what separates tokens."""
        super().scan_to_next_token()
        while self.peek() == "\t" and (self.flow_level or not self.allow_simple_key):
            self.forward()
            super().scan_to_next_token()

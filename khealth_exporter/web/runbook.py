"""The runbook page: alerts/runbook.md, as `make generate` renders it, in one self-contained document."""

from importlib import resources

from khealth_exporter.web.security.content_security_policy import hash_source

_STYLE = """
:root { color-scheme: light dark; --quiet: #f3f4f6; --line: #8886; --link: #0b57d0; }
@media (prefers-color-scheme: dark) { :root { --quiet: #1f2329; --line: #8888; --link: #8ab4f8; } }
html { background: Canvas; scroll-padding-top: 1rem; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
a { color: var(--link); }
a:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.skip { left: 1rem; position: absolute; top: -4rem; }
.skip:focus { background: Canvas; padding: .5rem; top: .5rem; }
h2 { border-top: 3px double var(--line); margin-top: 3rem; padding-top: 1rem; }
h3 { border-top: 1px solid var(--line); margin-top: 2rem; padding-top: .7rem; }
h1, h2, h3, p, li, td, code { overflow-wrap: anywhere; }
:target { background: var(--quiet); outline: .4rem solid var(--quiet); }
pre { background: var(--quiet); border-radius: .3rem; padding: .6rem .8rem; white-space: normal; }
pre code { display: block; padding: .15rem 0 .15rem 2ch; text-indent: -2ch; white-space: pre-wrap; }
code { font: .9em/1.45 ui-monospace, monospace; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem 1rem .3rem 0; text-align: left; vertical-align: top; }
nav ul ul { padding: 0; }
nav ul ul li { display: inline-block; margin: 0 1rem .2rem 0; min-height: 1.6rem; }
"""

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src {hash_source(_STYLE)}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Allows only the page's own style."""


def runbook_page() -> str:
    """Return the page, from a file in the package."""
    text = resources.files(__package__).joinpath("runbook.html").read_text(encoding="utf-8")
    return "".join(
        (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>khealth: runbook</title><style>{_STYLE}</style></head>\n<body>",
            '<a class="skip" href="#at-three-in-the-morning">Skip the contents</a>',
            '<header><a href="./">khealth: status</a></header>\n<main>\n',
            text,
            "</main></body></html>\n",
        )
    )

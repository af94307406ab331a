"""Text that a terminal and an XML file can hold."""


def printable(text: str) -> str:
    """Return the text without what XML cannot hold and what would command a terminal."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )

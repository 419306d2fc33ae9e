"""stub"""


def page(report: object) -> str:
    """Return nothing yet."""
    return ""

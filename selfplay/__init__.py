"""How playing changes the policy, and how that is measured."""

__all__: list[str] = []

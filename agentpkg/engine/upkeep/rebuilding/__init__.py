"""Making a lost or damaged ledger again.

The chain itself lies in git (``refs/agentpkg/audit``), up to what the relay had appended; what can be read of the
damaged file may go further. Those entries come back as they were, and the current rows follow from them. What came
after the last of them is found from session folders, landed commits and branches, and is recorded by new entries of
``system:recovery`` whose metadata say so.
"""

from agentpkg.engine.upkeep.rebuilding.rebuild import Rebuilt, damage, rebuild

__all__ = ["Rebuilt", "damage", "rebuild"]

"""Secret values: resolved at run time, held in memory, taken out of everything that is written."""

from agentpkg.secrets.controls import ControlStripper, strip_controls
from agentpkg.secrets.dotenv import values_of
from agentpkg.secrets.providers import Provider, Runner, open_providers
from agentpkg.secrets.redact import Redactor
from agentpkg.secrets.resolve import Resolved, allowed_variables, referenced, resolve_environment
from agentpkg.secrets.secret import Secret

__all__ = [
    "ControlStripper",
    "Provider",
    "Redactor",
    "Resolved",
    "Runner",
    "Secret",
    "allowed_variables",
    "open_providers",
    "referenced",
    "resolve_environment",
    "strip_controls",
    "values_of",
]

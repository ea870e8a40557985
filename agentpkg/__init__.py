"""agentpkg turns a planned feature into merged code with coding agents."""

__version__ = "0.1.0"

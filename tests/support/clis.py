"""Real agent programs for tests: where they are, and shops whose packages they do against a scripted model.

They are looked for in the folder that ``AGENTPKG_TEST_CLIS`` names (its ``node_modules/.bin`` and ``bin``), then on
PATH. A test whose program is missing is skipped; with ``CI`` set it fails, unless the variable says ``none``.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.engine_shop import Shop, ShopFactory
from tests.support.models import Shell, Turn

# read here, since the still world takes it away
_FOLDER = os.environ.get("AGENTPKG_TEST_CLIS")
_PLACES = os.pathsep.join([f"{_FOLDER}/node_modules/.bin", f"{_FOLDER}/bin"]) if _FOLDER else ""


def cli(name: str, *, required: bool = True) -> str:
    """The absolute path of a program; skips or fails the test without it, and skips if it is not ``required``."""
    found = (shutil.which(name, path=_PLACES) if _PLACES else None) or shutil.which(name)
    if found is None:
        what = f"{name} is not installed (see docs/agents.md)"
        if required and os.environ.get("CI") and _FOLDER != "none":
            pytest.fail(what)
        pytest.skip(what)
    return os.path.abspath(found)


def claude(url: str, key: str | None = "sk-scripted") -> dict[str, Any]:
    """Claude Code with the model at ``url``."""
    return {"harness": "claude-code", "command": [cli("claude")], "environment": _anthropic(url, key)}


def _anthropic(url: str, key: str | None) -> dict[str, str]:
    environment = {"ANTHROPIC_BASE_URL": url, "CLAUDE_CODE_MAX_RETRIES": "2"}
    return environment | ({"ANTHROPIC_API_KEY": key} if key else {})


def codex(url: str) -> dict[str, Any]:
    """Codex with the model at ``url``."""
    provider = (
        f'model_providers.scripted={{name="scripted",base_url="{url}/v1",env_key="CODEX_API_KEY",wire_api="responses",'
        "request_max_retries=1,stream_max_retries=2}"
    )
    command = [cli("codex"), "-c", 'model_provider="scripted"', "-c", provider]
    return {
        "harness": "codex", "command": command, "environment": {"CODEX_API_KEY": "sk-scripted"},
        "model": "scripted-1", "network": [urlsplit(url).netloc],
    }  # fmt: skip


def claude_by_acp(url: str) -> dict[str, Any]:
    """Claude Code over the Agent Client Protocol."""
    return {"harness": "acp", "command": [cli("claude-agent-acp")], "environment": _anthropic(url, "sk-scripted")}


def opencode(url: str) -> dict[str, Any]:
    """opencode over the Agent Client Protocol."""
    models = {"scripted-1": {"name": "scripted-1"}}
    provider = {"npm": "@ai-sdk/openai-compatible", "name": "scripted", "models": models,
                "options": {"baseURL": f"{url}/v1", "apiKey": "sk-scripted"}}  # fmt: skip
    config = {"model": "scripted/scripted-1", "small_model": "scripted/scripted-1", "provider": {"scripted": provider}}
    environment = {"OPENCODE_CONFIG_CONTENT": json.dumps(config), "OPENCODE_DISABLE_MODELS_FETCH": "1"}
    return {"harness": "acp", "command": [cli("opencode"), "acp"], "environment": environment}


def gemini(url: str) -> dict[str, Any]:
    """Gemini CLI over the Agent Client Protocol."""
    environment = {"GEMINI_API_KEY": "sk-scripted", "GOOGLE_GEMINI_BASE_URL": url}
    return {"harness": "acp", "command": [cli("gemini"), "--acp", "--skip-trust"], "environment": environment}


def goose(url: str) -> dict[str, Any]:
    """goose over the Agent Client Protocol."""
    environment = {
        "GOOSE_PROVIDER": "openai", "GOOSE_MODEL": "scripted-1", "GOOSE_DISABLE_KEYRING": "1", "OPENAI_HOST": url,
        "OPENAI_BASE_PATH": "v1/chat/completions", "OPENAI_API_KEY": "sk-scripted",
    }  # fmt: skip
    return {"harness": "acp", "command": [cli("goose"), "acp"], "environment": environment}


def committed(wp: str = "WP01", more: str = "add it") -> Turn:
    """The turn in which a model commits everything."""
    return (Shell(f'git add -A && git commit -q -m "feat({wp}): {more}"'),)


def agent_shop(
    shops: ShopFactory,
    definition: Mapping[str, Any],
    *,
    agent: Mapping[str, Any] | None = None,
    level: str = "basic",
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> Shop:
    """A shop whose default agent is called ``robot``.

    Args:
        definition: its entry under ``agents``.
        agent: more keys of the section ``agent``.
        level: of isolation.
        settings: more sections.
        more: for the factory.
    """
    shop = shops(**more)
    config = {
        "agent": {"harness": "robot", "timeout_seconds": 120, "kill_grace_seconds": 2, "retries": 0, **(agent or {})},
        "agents": {"robot": definition},
        "isolation": {"level": level},
        "review": {"checks": [{"name": "ok", "run": "true"}]},
        "nats": {"server": str(shop.repo / "no-nats-server")},
        **(settings or {}),
    }
    # JSON is YAML
    (shop.repo / ".kittify" / "config.yaml").write_text(json.dumps(config))
    shop.save("configuration")
    return shop


def log_of(shop: Shop, wp: str = "WP01") -> list[dict[str, Any]]:
    """The log of a package's last session."""
    session = shop.row(wp).session
    path = Path(shop.state, "sessions", str(session), "events.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]

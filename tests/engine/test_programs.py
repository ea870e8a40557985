"""What programs of agents say of themselves, also when they take their time."""

from agentpkg.config import agent_named
from agentpkg.engine.programs import Programs
from agentpkg.harnesses import harness_named
from tests.support.clis import agent_shop
from tests.support.engine_shop import ShopFactory


def test_a_slow_program_holds_nobody_up_and_is_told_by_what_it_said_before(shops: ShopFactory) -> None:
    shop = agent_shop(shops, {"harness": "acp", "command": ["placeholder"]})
    program = shop.tools / "gemini"
    program.write_text(f'#!/bin/sh\n[ -e {shop.tools}/slow ] && exec sleep 60\necho "0.61.0"\n')
    program.chmod(0o755)
    config = shop.repo / ".kittify" / "config.yaml"
    config.write_text(config.read_text().replace("placeholder", str(program)))
    shop.state.mkdir()

    def ask() -> tuple[str | None, str]:
        project = shop.project
        programs = Programs(project, deadline=5, soon=0.3)
        agent = agent_named(project.settings, "robot")
        said = programs.ask(harness_named("acp"), agent, None)
        programs.keep()
        return said.version, said.late

    assert ask() == ("0.61.0", "")
    (shop.tools / "slow").touch()
    assert ask() == ("0.61.0", "it did not tell its version within 0.3 s: as it did before")
    # another file says nothing of itself before it has been asked
    program.write_text(f"#!/bin/sh\n[ -e {shop.tools}/slow ] && exit 1\n")
    assert ask() == (None, "")

"""Completion as the shells themselves run it."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from shell import call

from tesla_embed.errors import ToolchainError
from tesla_host.apps import BENCHMARKS
from tesla_host.flash.boards import FLASH_BOARDS
from tesla_host.targets import target_names

Run = Callable[[str, str], str]

TYPE = {
    "bash": 'eval "$(tesla-embed completion bash)"; COMP_WORDS=({words}); COMP_CWORD={last}; '
    '_tesla_embed_completion tesla-embed; printf "%s\\n" "${{COMPREPLY[@]}}"',
    "zsh": "compdef() {{ :; }}; _arguments() {{ print -rl -- $@; }}; _files() {{ :; }}; "
    'eval "$(tesla-embed completion zsh)"; words=({words}); CURRENT={count}; '
    "_tesla_embed_completion",
    "fish": 'tesla-embed completion fish | source; complete -C "{words}"',
}
"""What has the shell complete the last of some words, as the Tab key would."""


@pytest.fixture
def run(tmp_path: Path, require_tool: Callable[..., object]) -> Run:
    """Runs a line in a shell where `tesla-embed` is a program and home is empty."""
    program = tmp_path / "bin" / "tesla-embed"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom tesla_host.cli import main\nmain()\n")
    program.chmod(0o755)

    def call_shell(shell: str, line: str) -> str:
        def find() -> str:
            path = shutil.which(shell)
            if path is None:
                raise ToolchainError(f"{shell} is not installed: apt install {shell}")
            return path

        found = str(require_tool(find))
        environment = {
            "PATH": f"{program.parent}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "PYTHONPATH": ":".join(sys.path),
        }
        command = [found, *(["-f"] if shell == "zsh" else []), "-c", line]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call_shell


def names(words: str) -> set[str]:
    values = {
        "--board ": [board.name for board in FLASH_BOARDS],
        "--target ": list(target_names()),
        "--benchmark ": [row.name for row in BENCHMARKS],
    }
    return {name for option, found in values.items() if words.endswith(option) for name in found}


@pytest.mark.parametrize("shell", list(TYPE))
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("tesla-embed em", {"emulate"}),
        ("tesla-embed flash --dr", {"--drive", "--dry-run"}),
        ("tesla-embed flash --board ", names("--board ")),
        ("tesla-embed emulate m.safetensors --target ", names("--target ")),
        ("tesla-embed build m.safetensors --benchmark ", names("--benchmark ")),
    ],
)
def test_the_shell_completes(run: Run, shell: str, words: str, offered: set[str]) -> None:
    listed = words if shell == "fish" else words + ('""' if words.endswith(" ") else "")
    count = len(words.split(" "))
    said = run(shell, TYPE[shell].format(words=listed, last=count - 1, count=count))
    said = said.replace("\\\\:", ":")  # zsh's own way to write a colon in a list
    assert offered
    assert all(name in said for name in offered), said
    if words.endswith("em"):
        assert "flash" not in said


@pytest.mark.parametrize(
    ("shell", "file"),
    [
        ("bash", ".bash_completions/tesla-embed.sh"),
        ("zsh", ".zfunc/_tesla-embed"),
        ("fish", ".config/fish/completions/tesla-embed.fish"),
    ],
)
def test_it_installs_itself(run: Run, tmp_path: Path, shell: str, file: str) -> None:
    run(shell, "tesla-embed --install-completion; echo done")
    assert "_TESLA_EMBED_COMPLETE" in (tmp_path / file).read_text()


def test_an_unknown_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("completion", "tcsh") == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err

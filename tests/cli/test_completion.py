"""builder/completion: the scripts, read by the shells that they are for."""
import argparse
import os
import subprocess

import pytest

from builder.cli import completion, options as arguments

BASH = """
source ./script
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
compopt() { echo "compopt $*"; }
_seedpod
printf '%s\\n' "${COMPREPLY[@]}"
"""
# A terminal in which a person types: what stands on the line once it is completed.
ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1= PS2=; unsetopt beep; autoload -Uz compinit; compinit -D -u; source ./script'
zpty -w shell 'try() { zle complete-word; print -r -- "<$BUFFER>"; }; zle -N try; bindkey "^G" try; print re''ady'
zpty -r -m shell line '*ready*'
zpty -w -n shell "$1"$'\x07'
zpty -r -m shell line '*<*>*'
print -r -- ${${line##*<}%%>*}
zpty -d shell
"""


@pytest.fixture
def complete(tmp_path, needs):
    """(shell, words) -> what the shell offers for the last one."""
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seed.tar").touch()

    def completed(shell, *words):
        needs(shell)
        (tmp_path / "script").write_text(completion.SHELLS[shell](arguments.parser()) + "\n")
        command = {
            "bash": ["bash", "--norc", "-c", BASH, "bash", *words],
            "zsh": ["zsh", "-f", "-c", ZSH, "zsh", " ".join(words)],
            "fish": ["fish", "--no-config", "-c", "source ./script; complete -C %r" % " ".join(words)]}[shell]
        done = subprocess.run(command, cwd=str(tmp_path), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=dict(os.environ, HOME=str(tmp_path), TERM="dumb"), timeout=60)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
        return [line.split("\t")[0].rstrip() for line in done.stdout.decode().splitlines() if line]
    return completed


def test_bash_completes_options_choices_and_folders(complete):
    assert complete("bash", "build.py", "--compr") == ["--compression"]
    assert set(complete("bash", "build.py", "")) == set()  # files, by -o default
    assert complete("bash", "build.py", "--compression", "") == ["auto", "none", "gzip", "xz"]
    assert complete("bash", "build.py", "a.tar", "-o", "se") == ["seeds"]
    assert complete("bash", "build.py", "--chunk-size", "1") == ["compopt +o default"]
    assert set(complete("bash", "build.py", "-")) == set(arguments.option_names(arguments.parser()))


def test_fish_completes_options_choices_files_and_folders(complete):
    assert complete("fish", "build.py", "--compres") == ["--compression"]
    assert complete("fish", "build.py", "--compression", "") == ["auto", "gzip", "none", "xz"]
    assert complete("fish", "build.py", "--verify", "se") == ["seeds/"]
    assert sorted(complete("fish", "build.py", "--cluster", "se")) == ["seed.tar", "seeds/"]
    assert complete("fish", "seedpod.pyz", "--compres") == ["--compression"]


def test_zsh_completes_options_choices_files_and_folders(complete):
    assert complete("zsh", "build.py", "--compres") == ["build.py --compression"]
    assert complete("zsh", "build.py", "--compression g") == ["build.py --compression gzip"]
    assert complete("zsh", "build.py", "--verify se") == ["build.py --verify seeds/"]
    assert complete("zsh", "build.py", "--cluster seed.") == ["build.py --cluster seed.tar"]


@pytest.mark.parametrize("shell", sorted(completion.SHELLS))
def test_no_help_text_leaves_its_quotes(shell):
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--x", help="a ' \" ` $(touch hacked) [b] \\ ]: more")
    script = completion.SHELLS[shell](parser)
    assert "hacked" not in script and "`" not in script


def test_an_unknown_shell_is_one_line():
    with pytest.raises(arguments.InputError, match="--completion: invalid choice: 'tcsh'"):
        arguments.read(["--completion", "tcsh"])

"""Signatures of files, made and checked with OpenSSH's ssh-keygen.

In: the file's path; a private key, or a file of allowed signers. Out: the signature next to the file, or the name of
the signer. All errors are InputErrors. A signature of SHA256SUMS covers every file that it lists, since verification.py
compares each with it.

https://man.openbsd.org/ssh-keygen#Y https://man.openbsd.org/ssh-keygen#ALLOWED_SIGNERS
"""
import os
import shutil
import subprocess
from typing import Any, List

from builder.kubernetes.file_names import SIGNATURE_SUFFIX
from builder.reading.errors import InputError

PROGRAM = "ssh-keygen"
MAX_SIGNERS_CHARACTERS, MAX_NAMES = 1 << 20, 100  # of a file of allowed signers
NAMESPACE = "seedpod"  # a signature made for another purpose does not count


def check_key(key: str) -> None:
    """Raise InputError if signing is going to fail, before hours of compression. A passphrase is asked for later; for a
    public key, the agent signs."""
    _need("--sign", key)
    made = _run("-y", "-P", "", "-f", key)
    if made.returncode and b"passphrase" not in made.stderr and not _is_public(key):
        raise InputError("--sign %s: ssh-keygen cannot sign with it: %s: name a private key that ssh-keygen made"
                         % (key, _reason(made)))


def _is_public(key: str) -> bool:
    with open(key, "rb") as file:
        return file.read(len(b"ecdsa-")).startswith((b"ssh-", b"ecdsa-", b"sk-"))


def sign(path: str, key: str) -> None:
    """Write the signature. ssh-keygen asks for a passphrase at the terminal; for a public key, it asks the agent."""
    _need("--sign", key)
    made = _run("-Y", "sign", "-f", key, "-n", NAMESPACE, path)
    if made.returncode:
        raise InputError("--sign %s: ssh-keygen cannot sign with it: %s: name a private key that ssh-keygen made"
                         % (key, _reason(made)))


def verify(path: str, signers: str) -> str:
    """Return the signer's name in the file of allowed signers."""
    _need("--signers", signers)
    signature = path + SIGNATURE_SUFFIX
    for file in (signature, path):
        if os.path.islink(file) or not os.path.isfile(file):
            raise InputError("%s: missing, so nothing is signed: do not apply this" % file)
    found = _run("-Y", "find-principals", "-f", signers, "-s", signature)
    names = found.stdout.decode("utf-8", "surrogateescape").splitlines()
    if found.returncode or not names:
        reason = _reason(found)
        if reason.startswith(signers) and reason.endswith(("invalid key", "missing key")):
            raise InputError("--signers %s: not a file of allowed signers (%s): write lines of NAME KEY"
                             % (signers, reason))
        raise InputError("%s: not signed by anyone listed in %s (%s): do not apply this" % (signature, signers, reason))
    for name in dict.fromkeys(names + _listed_names(signers)):  # a key may be listed for another namespace first
        with open(path, "rb") as message:
            checked = _run("-Y", "verify", "-f", signers, "-I", name, "-n", NAMESPACE, "-s", signature, stdin=message)
        if not checked.returncode:
            return name
    raise InputError("%s: not a signature of this %s (%s): do not apply this"
                     % (signature, os.path.basename(path), _reason(checked)))


def _listed_names(signers: str) -> List[str]:
    """Return the names without wildcards in a file of allowed signers."""
    with open(signers, encoding="utf-8", errors="surrogateescape") as file:
        fields = [line.split(None, 1)[0] for line in file.read(MAX_SIGNERS_CHARACTERS).splitlines() if line.split()]
    names = [name for field in fields if not field.startswith(("#", "-")) for name in field.split(",")]
    return [name for name in names if name and not set(name) & set("*?!\"")][:MAX_NAMES]


def _need(option: str, path: str) -> None:
    if not os.path.isfile(path):
        raise InputError("%s %s: no such file: check the path" % (option, path))
    if not shutil.which(PROGRAM):
        raise InputError("%s: needs ssh-keygen, which is not installed: install OpenSSH's client" % option)
    if b"option -- Y" in _run("-Y", "verify").stderr:
        raise InputError("%s: this ssh-keygen cannot sign files: install OpenSSH 8.1 or newer" % option)


def _run(*words: str, stdin: Any = subprocess.DEVNULL) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([PROGRAM, *words], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the first line that the program printed, without frames: it names the cause."""
    lines = (done.stderr.strip() or done.stdout.strip()).decode("utf-8", "surrogateescape").splitlines()
    return next((line.strip() for line in lines if not line.startswith("@")), "exit status %d" % done.returncode)

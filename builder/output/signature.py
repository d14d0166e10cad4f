"""Signatures of files, made and checked with OpenSSH's ssh-keygen.

In: the file's path; a private key, or a file of allowed signers. Out: the signature next to the file, or the name of
the signer. All errors are InputErrors. A signature of SHA256SUMS covers every file that it lists, since verification.py
compares each with it.

https://man.openbsd.org/ssh-keygen#Y https://man.openbsd.org/ssh-keygen#ALLOWED_SIGNERS
"""
import os
import shutil
import subprocess
from typing import Any, Sequence

from builder.kubernetes.file_names import SIGNATURE_SUFFIX
from builder.reading.errors import InputError

PROGRAM = "ssh-keygen"
NAMESPACE = "seedpod"  # a signature made for another purpose does not count


def check_key(key: str) -> None:
    """Raise InputError if signing is going to fail, before hours of compression."""
    _need("--sign", key)


def sign(path: str, key: str) -> None:
    """Write the signature. ssh-keygen asks for a passphrase at the terminal; for a public key, it asks the agent."""
    _need("--sign", key)
    made = _run(["sign", "-f", key, "-n", NAMESPACE, path])
    if made.returncode:
        raise InputError("--sign %s: ssh-keygen cannot sign with it: %s: name a private key that ssh-keygen made"
                         % (key, _said(made)))


def verify(path: str, signers: str) -> str:
    """Return the signer's name in the file of allowed signers."""
    _need("--signers", signers)
    signature = path + SIGNATURE_SUFFIX
    for file in (signature, path):
        if os.path.islink(file) or not os.path.isfile(file):
            raise InputError("%s: missing, so nothing is signed: do not apply this" % file)
    found = _run(["find-principals", "-f", signers, "-s", signature])
    names = found.stdout.decode("utf-8", "surrogateescape").splitlines()
    if found.returncode or not names:
        raise InputError("%s: not signed by anyone listed in %s (%s): do not apply this"
                         % (signature, signers, _said(found)))
    with open(path, "rb") as message:
        checked = _run(["verify", "-f", signers, "-I", names[0], "-n", NAMESPACE, "-s", signature], message)
    if checked.returncode:
        raise InputError("%s: not a signature of this %s (%s): do not apply this"
                         % (signature, os.path.basename(path), _said(checked)))
    return names[0]


def _need(option: str, path: str) -> None:
    if not os.path.isfile(path):
        raise InputError("%s %s: no such file: check the path" % (option, path))
    if not shutil.which(PROGRAM):
        raise InputError("%s: needs ssh-keygen, which is not installed: install OpenSSH's client" % option)


def _run(words: Sequence[str], stdin: Any = subprocess.DEVNULL) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([PROGRAM, "-Y", *words], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the last line that the program printed, which is the error."""
    lines = (done.stderr.strip() or done.stdout.strip()).decode("utf-8", "surrogateescape").splitlines()
    return lines[-1].strip() if lines else "exit status %d" % done.returncode

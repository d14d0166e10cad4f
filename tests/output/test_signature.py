"""A signed folder from both sides, with a real key and the real ssh-keygen."""
import os
import subprocess

import pytest

from builder.output import signature
from builder.reading.errors import InputError


@pytest.fixture(scope="module")
def keys(tmp_path_factory, needs):
    """Two keys without a passphrase, one with, and a file that allows the first."""
    needs("ssh-keygen")
    folder = tmp_path_factory.mktemp("keys")
    for name, passphrase in (("ours", ""), ("foreign", ""), ("locked", "secret")):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", str(folder / name)],
                       check=True)
    (folder / "signers").write_text("release@example.com " + (folder / "ours.pub").read_text())
    return folder


@pytest.fixture
def signed(tmp_path, keys):
    (tmp_path / "SHA256SUMS").write_bytes(b"0" * 64 + b"  40-pod.yaml\n")
    signature.sign(str(tmp_path / "SHA256SUMS"), str(keys / "ours"))
    return tmp_path


def refused(folder, signers):
    with pytest.raises(InputError) as refusal:
        signature.verify(str(folder / "SHA256SUMS"), str(signers))
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_the_signer_is_named(signed, keys):
    assert sorted(os.listdir(signed)) == ["SHA256SUMS", "SHA256SUMS.sig"]
    assert signature.verify(str(signed / "SHA256SUMS"), str(keys / "signers")) == "release@example.com"


def test_a_signature_of_other_sums_is_refused(signed, keys):
    (signed / "SHA256SUMS").write_bytes(b"1" * 64 + b"  40-pod.yaml\n")
    assert "SHA256SUMS.sig: not a signature of this SHA256SUMS (" in refused(signed, keys / "signers")


def test_a_key_that_is_not_listed_is_refused(signed, keys):
    (signed / "SHA256SUMS.sig").unlink()
    signature.sign(str(signed / "SHA256SUMS"), str(keys / "foreign"))
    assert "SHA256SUMS.sig: not signed by anyone listed in %s (" % (keys / "signers") in refused(signed, keys / "signers")


def test_a_signature_for_another_purpose_is_refused(signed, keys):
    (signed / "SHA256SUMS.sig").unlink()
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", str(keys / "ours"), "-n", "file", str(signed / "SHA256SUMS")],
                   check=True, stderr=subprocess.DEVNULL)
    assert "SHA256SUMS.sig: not a signature of this SHA256SUMS (" in refused(signed, keys / "signers")


@pytest.mark.parametrize("data", [b"", b"\x00\xff", b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"])
def test_a_malformed_signature_is_refused(signed, keys, data):
    (signed / "SHA256SUMS.sig").write_bytes(data)
    assert "not signed by anyone listed in" in refused(signed, keys / "signers")


@pytest.mark.parametrize("name", ["SHA256SUMS.sig", "SHA256SUMS"])
def test_an_unsigned_folder_is_refused(signed, keys, name):
    (signed / name).rename(signed / "elsewhere")
    assert refused(signed, keys / "signers") == "%s: missing, so nothing is signed: do not apply this" % (
        signed / name)
    (signed / name).symlink_to("elsewhere")
    assert "missing, so nothing" in refused(signed, keys / "signers")


def test_an_empty_list_of_signers_refuses_every_key(signed, tmp_path):
    (tmp_path / "signers").write_text("# nobody\n")
    assert "not signed by anyone listed in" in refused(signed, tmp_path / "signers")
    assert refused(signed, tmp_path / "none") == "--signers %s: no such file: check the path" % (tmp_path / "none")


def test_a_missing_ssh_keygen_is_reported_in_one_line(signed, keys, monkeypatch):
    monkeypatch.setenv("PATH", str(signed))
    assert refused(signed, keys / "signers") == (
        "--signers: needs ssh-keygen, which is not installed: install OpenSSH's client")
    with pytest.raises(InputError, match="--sign: needs ssh-keygen"):
        signature.check_key(str(keys / "ours"))


def test_a_key_that_cannot_sign_is_reported_in_one_line(signed, keys, monkeypatch):
    (signed / "SHA256SUMS.sig").unlink()
    monkeypatch.setenv("SSH_ASKPASS", "false")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    for key in (keys / "locked", keys / "signers"):
        with pytest.raises(InputError, match="--sign %s: ssh-keygen cannot sign with it: [^\n]+: name a private" % key):
            signature.sign(str(signed / "SHA256SUMS"), str(key))
    with pytest.raises(InputError, match="--sign none: no such file: check the path"):
        signature.check_key("none")


@pytest.mark.parametrize("spoil, reason", [
    (lambda key: key.chmod(0o644), "Permissions 0644 for '.*' are too open"),
    (lambda key: key.write_bytes(key.read_bytes().replace(b"\n", b"\r\n")), "[^:]+"),
    (lambda key: key.write_bytes(b"no key"), "[^:]+")])
def test_a_key_that_cannot_sign_is_refused_before_the_build_with_the_reason(keys, tmp_path, spoil, reason):
    key = tmp_path / "key"
    key.write_bytes((keys / "ours").read_bytes())
    key.chmod(0o600)
    signature.check_key(str(key))
    spoil(key)
    with pytest.raises(InputError, match="--sign %s: ssh-keygen cannot sign with it: %s.*: name a private key" % (key, reason)):
        signature.check_key(str(key))


@pytest.mark.parametrize("name", ["locked", "ours.pub"])
def test_a_key_with_a_passphrase_and_one_of_the_agent_pass_the_check(keys, name):
    signature.check_key(str(keys / name))


@pytest.mark.parametrize("names", [("git", "release"), ("release", "release")])
def test_a_key_that_is_listed_for_another_purpose_as_well_is_accepted(signed, keys, tmp_path, names):
    public = (keys / "ours.pub").read_text()
    (tmp_path / "both").write_text('%s namespaces="git" %s%s namespaces="seedpod" %s' % (names[0], public, names[1], public))
    assert signature.verify(str(signed / "SHA256SUMS"), str(tmp_path / "both")) == "release"
    (tmp_path / "both").write_text('%s namespaces="git" %s' % (names[0], public))
    assert "SHA256SUMS.sig: not a signature of this SHA256SUMS (" in refused(signed, tmp_path / "both")


def test_a_public_key_in_place_of_the_signers_is_refused_with_the_form(signed, keys):
    assert refused(signed, keys / "ours.pub") == (
        "--signers {0}: not a file of allowed signers ({0}:1: invalid key): write lines of NAME KEY".format(keys / "ours.pub"))


def test_an_old_ssh_keygen_is_refused(signed, keys, tmp_path, monkeypatch):
    (tmp_path / "ssh-keygen").write_text("#!/bin/sh\necho 'ssh-keygen: unknown option -- Y' >&2\nexit 1\n")
    (tmp_path / "ssh-keygen").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert refused(signed, keys / "signers") == "--signers: this ssh-keygen cannot sign files: install OpenSSH 8.1 or newer"

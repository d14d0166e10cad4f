"""Podman and Buildah."""
import pytest


@pytest.mark.parametrize("program, pull, form", (
    ("podman", "pull", "docker-archive"), ("podman", "pull", "dir"), ("podman", "pull", "squeezed"),
    ("buildah", "from", "crane")))
def test_the_image_is_pulled(program, pull, form, needs, served, sandbox, tmp_path):
    needs(program)
    image = served(form)
    command = [program, "--root", tmp_path, "--storage-driver", "vfs"]
    if program == "podman":
        command += ["--network-config-dir", tmp_path / "networks"]
    sandbox.run(*command, pull, "--tls-verify=false", image.at("library/registry:2"))
    told = sandbox.run(*command, "images", "--no-trunc", "--format", "{{.ID}} {{.Digest}}")
    image_id, digest = told.split()
    assert (image_id, digest) == (image.image_id, image.digest)

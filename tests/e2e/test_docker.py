"""Docker's daemon."""
import pytest


@pytest.fixture
def docker(needs, sandbox, dockerd):
    """A function that runs `docker` and returns what it prints."""
    needs("docker")
    return lambda *command: sandbox.run("docker", "--host", "unix://%s" % dockerd, *command)


def test_docker_pulls_the_image(docker, served):
    image = served("dir")
    name = image.at("library/registry:2")
    docker("pull", name)
    assert docker("image", "inspect", "--format", "{{.Id}} {{index .RepoDigests 0}}", name).split() == [
        image.image_id, image.at("library/registry@" + image.digest)]


def test_docker_pulls_one_platform_of_an_index(docker, two_platforms):
    index, _ = two_platforms
    name = index.at("seedpod/both:1")
    docker("pull", "--platform", "linux/arm64", name)
    assert docker("image", "inspect", "--format", "{{.Architecture}} {{index .RepoDigests 0}}", name).split() == [
        "arm64", index.at("seedpod/both@" + index.digest)]

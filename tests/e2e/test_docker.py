def test_docker_pulls_the_image(needs, dockerd, served, sandbox):
    needs("docker")
    image = served("dir")
    docker = ["docker", "--host", "unix://%s" % dockerd]
    sandbox.run(*docker, "pull", image.at("library/registry:2"))
    told = sandbox.run(*docker, "image", "inspect", "--format", "{{.Id}} {{index .RepoDigests 0}}",
                       image.at("library/registry:2"))
    assert told.split() == [image.image_id, image.at("library/registry@" + image.digest)]

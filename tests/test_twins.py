"""What stands twice, because the halves of the project share no code but a written format: it must not differ."""
import ast
import io
import itertools
import pathlib
import random

import pytest

from builder.kubernetes import injector_pod, persistent_registry, ports
from builder.kubernetes.site import NAME
from builder.payload import contents
from builder.payload.addresses import addresses, owners
from builder.reading import oci
from builder.reading.errors import InputError
from builder.reading.reference import parse
from tests.support import samples
import registry

TOP = pathlib.Path(__file__).resolve().parents[1]
PROGRAMS = {  # file -> values of builder/kubernetes that are its defaults
    "stage1/injector/unpack.py": [injector_pod.CHUNKS, injector_pod.SEED],
    "stage1/injector/server.py": [injector_pod.SEED, ":%d" % ports.IMAGES],
    "stage1/spooler/__main__.py": [
        persistent_registry.SPOOL, "http://127.0.0.1:%d" % ports.REGISTRY, ports.HEALTH,
        "http://%s:%d" % (NAME, ports.SEED)],
}
LISTS = "builder/reading/docker_archive.py"  # its manifest.json lists images: no manifest of a registry


def constants(name):
    """(file, value in bytes) of every constant of that name in what is shipped."""
    for path in sorted([*(TOP / "builder").rglob("*.py"), *(TOP / "stage1").rglob("*.py")]):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and (
                    node.targets[0].id.lstrip("_").replace("MAX_", "") == name):
                yield path.relative_to(TOP).as_posix(), eval(compile(ast.Expression(node.value), str(path), "eval"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_defaults_of_the_programs_are_what_the_emitted_pods_have(program):
    tree = ast.parse((TOP / program).read_text(encoding="utf-8"))
    assert set(PROGRAMS[program]) <= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("name", ["MANIFEST_BYTES", "CONFIG_BYTES"])
def test_what_is_read_at_all_is_served_and_pushed(name):
    found = {file: value for file, value in constants(name) if (name, file) != ("MANIFEST_BYTES", LISTS)}
    assert len(set(found.values())) == 1, found


HOSTS = ("docker.io", "quay.io", "harbor.local", "harbor.local:5000", "localhost", "localhost:5000", "MYHOST",
         "index.docker.io")
PATHS = ("a", "a/b", "library/a", "myhost/a", "localhost/a", "quay.io/a", "quay.io/a/b", "docker.io/library/a",
         "docker.io/a", "harbor.local/quay.io/a", "x.y")
SUFFIXES = (":1", ":2", "", "@sha256:" + "0" * 64)
NAMES = sorted({str(parse(host + "/" + path + suffix)) for host in HOSTS for path in PATHS for suffix in SUFFIXES})
MANIFESTS = [samples.to_json({"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST, "annotations": {"number": str(number)}})
             for number in range(12)]


def random_images(seed):
    """Images under two random names each, in random order."""
    chooser = random.Random(seed)
    names = chooser.sample(NAMES, 2 * len(MANIFESTS))
    images = []
    for number, data in enumerate(MANIFESTS):
        root = oci.blob_of(data)
        references = tuple(text if "@" not in text else text.partition("@")[0] + "@" + root.digest
                           for text in names[number * 2:number * 2 + 2])
        images.append(oci.Image(references, oci.Descriptor(oci.OCI_MANIFEST, root.digest, root.size), (root,), (), (),
                                (), (), "", ()))
    return images


def table_of(images):
    """What the injector serves of them."""
    blobs = {image.root.digest: data for image, data in zip(images, MANIFESTS)}
    return registry.Registry(contents.index_of(images), lambda digest, size: io.BytesIO(blobs[digest]))


@pytest.mark.parametrize("seed", range(100))
def test_builder_and_injector_lead_every_name_to_the_same_image(seed):
    images = random_images(seed)
    table = table_of(images)
    claims = owners(images)
    assert {address: claim.digest for address, claim in claims.items()} == {
        name + ("@" if ":" in tag else ":") + tag: entity.digest
        for name, repository in table.repositories.items() if registry.is_name(name)
        for tag, entity in repository.manifests.items() if ":" not in tag or "%s@%s" % (name, tag) in claims}
    for image in images:  # a digest is served wherever its image is
        for name in itertools.chain(*(stored_names(text) for text in image.references)):
            assert table.repositories[name].manifests[image.root.digest].digest == image.root.digest


def stored_names(text):
    names = registry.names_of(text)
    return [names.full, *names.short]


@pytest.mark.parametrize("seed", range(100))
def test_the_host_that_a_mirror_names_leads_to_the_images_of_that_host_alone(seed):
    images = random_images(seed)
    table = table_of(images)
    own = {}
    for image in images:
        for reference in map(parse, image.references):
            own.setdefault((reference.host.lower(), reference.path, reference.tag or reference.digest), image.root.digest)
    for host in map(str.lower, HOSTS[:-1]):
        for path, tag in itertools.product(PATHS, ("1", "2", "latest")):
            answer = table.answer("GET", "/v2/%s/manifests/%s?ns=%s" % (path, tag, host), {})
            asked = path[len(host) + 1:] if path.startswith(host + "/") else path
            assert (answer.entity.digest if answer.status == 200 else None) == own.get((host, asked, tag))


@pytest.mark.parametrize("seed", range(100))
def test_every_address_that_the_builder_gives_out_leads_to_its_image(seed):
    images = random_images(seed)
    while True:
        try:
            shortest, notes = addresses(images)
            break
        except InputError as refusal:
            assert ", another image: save it in an archive of its own, and give it another name, NAME=ARCHIVE" in str(refusal)
            lost = str(refusal).partition(": could only be served as ")[0]
            images = [image._replace(references=tuple(name for name in image.references if name != lost))
                      for image in images]
    table = table_of(images)
    assert len(shortest) >= len(images)
    for image in images:
        for text in image.references:
            name, at, reference = shortest[text].partition("@")
            name, reference = (name, reference) if at else name.split(":")
            answer = table.answer("GET", "/v2/%s/manifests/%s" % (name, reference), {})
            assert answer.entity.digest == image.root.digest
    for note in notes:
        full = note.partition(": ")[0]
        parsed = parse(full)
        answer = table.answer("GET", "/v2/%s/%s/manifests/%s" % (
            parsed.host.lower(), parsed.path, parsed.tag or parsed.digest), {})
        assert answer.entity.digest == next(image.root.digest for image in images if full in image.references)

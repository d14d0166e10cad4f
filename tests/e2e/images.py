"""The images that the clients pull: made at test time, from programs that are on this machine.

`registry:2` holds Debian's docker-registry and the libraries it is linked to, so it can really be started. It is
saved in every form that an operator may bring. `both:1` is an index of two platforms.
"""
import io
import json
import pathlib
import re
import shutil
import tarfile
from typing import Dict, NamedTuple

NAME = "docker.io/library/registry:2"
TWO_PLATFORMS = "quay.io/seedpod/both:1"
FORMS = ("docker-archive", "oci-archive", "oci", "dir", "crane")

REGISTRY_FILE = """\
FROM scratch
COPY root /
EXPOSE 5000
VOLUME /var/lib/registry
ENTRYPOINT ["/bin/registry"]
CMD ["serve", "/etc/docker/registry/config.yml"]
"""
REGISTRY_SETTINGS = """\
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/registry}}
http: {addr: ":5000"}
"""


class Saved(NamedTuple):
    """`registry:2`."""
    root: pathlib.Path  # what is in it
    image_id: str  # digest of the config, the same in all forms
    archives: Dict[str, str]  # form -> what build.py takes, with a name if the form has none


def save_registry(sandbox, folder: pathlib.Path) -> Saved:
    buildah = buildah_in(folder)
    root = folder / "registry" / "root"
    programs = [(shutil.which("docker-registry"), "/bin/registry")] + [
        (shutil.which(name), "/bin/" + name) for name in ("setpriv", "env")]  # pod.py starts containers by them
    libraries = sorted({library for source, _ in programs
                        for library in re.findall(r"(?:^|=> |\t)(/\S+)", sandbox.run("ldd", source))})
    for source, target in programs + [(library, library) for library in libraries]:
        path = root / target.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, path)
    settings = root / "etc" / "docker" / "registry" / "config.yml"
    settings.parent.mkdir(parents=True)
    settings.write_text(REGISTRY_SETTINGS)
    (root.parent / "Containerfile").write_text(REGISTRY_FILE)
    sandbox.run(*buildah, "build", "--timestamp", "0", "--tag", NAME, root.parent)

    paths = {form: folder / form for form in FORMS}
    sandbox.run(*buildah, "push", NAME, "docker-archive:%s:%s" % (paths["docker-archive"], NAME))
    sandbox.run(*buildah, "push", NAME, "oci-archive:%s:%s" % (paths["oci-archive"], NAME))
    source = "oci-archive:%s" % paths["oci-archive"]
    sandbox.run("skopeo", "copy", source, "oci:%s:%s" % (paths["oci"], NAME))
    sandbox.run("skopeo", "copy", source, "dir:%s" % paths["dir"])
    write_as_crane(paths["dir"], paths["crane"])
    archives = {form: str(path) for form, path in paths.items()}
    archives["dir"] = "%s=%s" % (NAME, paths["dir"])
    manifest = json.loads((paths["dir"] / "manifest.json").read_text())
    return Saved(root, manifest["config"]["digest"], archives)


def write_as_crane(saved: pathlib.Path, target: pathlib.Path) -> None:
    """A `dir:` folder -> the tarball that `crane pull` writes: layers as they are compressed, manifest.json last."""
    manifest = json.loads((saved / "manifest.json").read_text())
    config = manifest["config"]["digest"]
    layers = [layer["digest"].split(":")[1] for layer in manifest["layers"]]
    listed = json.dumps([{"Config": config, "RepoTags": [NAME.replace("docker.io", "index.docker.io")],
                          "Layers": [layer + ".tar.gz" for layer in layers]}]).encode()
    with tarfile.open(target, "w") as archive:
        archive.add(saved / config.split(":")[1], config)
        for layer in layers:
            archive.add(saved / layer, layer + ".tar.gz")
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(listed)
        archive.addfile(entry, io.BytesIO(listed))


def save_two_platforms(sandbox, folder: pathlib.Path) -> pathlib.Path:
    """-> an OCI layout folder."""
    buildah = buildah_in(folder)
    context = folder / "both"
    context.mkdir()
    (context / "Containerfile").write_text("FROM scratch\nCOPY Containerfile /\n")
    sandbox.run(*buildah, "build", "--timestamp", "0", "--platform", "linux/amd64,linux/arm64", "--manifest",
                TWO_PLATFORMS, context)
    layout = folder / "layout"
    sandbox.run(*buildah, "manifest", "push", "--all", TWO_PLATFORMS, "oci:%s:%s" % (layout, TWO_PLATFORMS))
    return layout


def buildah_in(folder: pathlib.Path):
    """The start of a command line that keeps its store in `folder`."""
    return ["buildah", "--root", folder / "store", "--runroot", folder / "run", "--storage-driver", "vfs"]

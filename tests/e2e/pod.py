"""The emitted Pod, run as a kubelet would, without a cluster.

In: the folder that build.py wrote, read by a real YAML parser. The ConfigMaps become the files of the Pod's volumes,
in a kubelet's layout (links into `..data`); its containers run one after the other at their real mount paths, with
the Pod's user, without capabilities, on a read-only root that has this machine's programs and nothing else. Only the
network is this machine's, so the port is a free one in place of the node port.
"""
import base64
import contextlib
import functools
import json
import os
import pathlib
import shlex

from tests.e2e.programs import COMMAND_SECONDS, free_port, is_registry

PROGRAMS = ("usr", "bin", "lib", "lib64", "etc", "dev")  # of this machine, in place of the node image's
# A change of user would make the kernel forget that the program is to end with its parent: "keep".
UNPRIVILEGED = ["--clear-groups", "--no-new-privs", "--bounding-set", "-all", "--inh-caps", "-all",
                "--pdeathsig", "keep"]


@functools.lru_cache(maxsize=None)
def objects_in(sandbox, out: pathlib.Path):
    """What is in the YAML files of a folder, read once: that takes a second."""
    return list(map(json.loads, sandbox.run("yq", "-c", ".", *sorted(out.glob("*.yaml"))).splitlines()))


class Pod:
    """The Pod in `out`, or that of a Deployment, its volumes laid out under `folder`."""

    def __init__(self, sandbox, out: pathlib.Path, folder: pathlib.Path, kind: str = "Pod") -> None:
        self.sandbox = sandbox
        self.out = out
        self.folder = folder
        objects = objects_in(sandbox, out)
        self.config_maps = {item["metadata"]["name"]: item for item in objects if item["kind"] == "ConfigMap"}
        (self.spec,) = [item["spec"] if kind == "Pod" else item["spec"]["template"]["spec"]
                        for item in objects if item["kind"] == kind]
        self.services = {item["metadata"]["name"]: item["spec"] for item in objects if item["kind"] == "Service"}
        for volume in self.spec["volumes"]:
            self.lay_out(volume)

    def lay_out(self, volume) -> None:
        path = self.folder / volume["name"]
        data = path / "..data"
        data.mkdir(parents=True)
        if "emptyDir" in volume:
            data.rmdir()
            os.chmod(path, 0o777)
        sources = [volume] if "configMap" in volume else volume.get("projected", {}).get("sources", [])
        for source in sources:
            config_map = self.config_maps[source["configMap"]["name"]]
            files = {name: base64.b64decode(text, validate=True)
                     for name, text in config_map.get("binaryData", {}).items()}
            files.update({name: text.encode() for name, text in config_map.get("data", {}).items()})
            for name, content in files.items():
                (data / name).write_bytes(content)
                (path / name).symlink_to("..data/" + name)

    def root(self, container, image=None) -> str:
        """Shell code that mounts the container's root; its folder is the working directory afterwards. `image`: a
        folder with what is in its image; None: this machine's programs."""
        root = self.folder / ("root-" + container["name"])
        names = [name for name in PROGRAMS if os.path.isdir("/" + name)] if image is None else os.listdir(image)
        binds = [(str(image or "/") + "/" + name, name, "ro") for name in names]
        binds += [(str(self.folder / mount["name"]), mount["mountPath"].strip("/"),
                   "ro" if mount.get("readOnly") else "rw") for mount in container["volumeMounts"]]
        lines = ["mkdir -p %s" % shlex.quote(str(root)), "mount -t tmpfs tmpfs %s" % shlex.quote(str(root)),
                 "cd %s" % shlex.quote(str(root)), "mkdir proc", "mount -t proc proc proc"]
        for source, target, mode in binds:
            lines += ["mkdir -p %s" % shlex.quote(target),
                      "mount --rbind %s %s" % (shlex.quote(source), shlex.quote(target)),
                      "mount -o remount,bind,%s %s" % (mode, shlex.quote(target))]
        if container["securityContext"]["readOnlyRootFilesystem"]:
            lines.append("mount -o remount,ro .")
        return "\n".join(lines + [""])

    def started(self, container, ports, image=None):
        """Context manager: the container as a Daemon. `ports`: what is written of an address, e.g. `:31999`, and what
        it listens on in place of it."""
        command = [ports.get(word, word) for word in container["command"]]
        variables = ["%s=%s" % (item["name"], ports.get(item["value"], item["value"]))
                     for item in container.get("env", ())]
        user = self.spec["securityContext"]
        return self.sandbox.daemon(
            self.folder / (container["name"] + ".log"), "chroot", ".", "setpriv", "--reuid", user["runAsUser"],
            "--regid", user["runAsGroup"], *UNPRIVILEGED, *(["env", *variables] if variables else ()),
            *command, mounts=self.root(container, image))

    @contextlib.contextmanager
    def running(self):
        """(Daemon of the serving container, address) once it is ready."""
        address = "127.0.0.1:%d" % free_port()
        (service,) = self.services.values()
        ports = {":%d" % service["ports"][0]["nodePort"]: address}
        for container in self.spec["initContainers"]:
            with self.started(container, ports) as daemon:
                assert daemon.process.wait(COMMAND_SECONDS) == 0, daemon.log.read_text()
        (container,) = self.spec["containers"]
        with self.started(container, ports) as daemon:
            daemon.wait_until(lambda: is_registry(address))
            yield daemon, address

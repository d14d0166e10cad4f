"""Debian's docker-registry with the spooler beside it: plain, with TLS on both sides, with a password."""
import contextlib
import json
import pathlib
import subprocess
import sys
import urllib.error
import urllib.request

from builder.reading import oci
from tests.e2e.programs import free_port

PLAIN, TLS, PASSWORD = "plain", "tls", "password"
HTPASSWD = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"  # secret
CREDENTIALS = "user:secret"

SETTINGS = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/storage}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}", secret: fixed{tls}}}
"""
TLS_SETTINGS = ", tls: {{certificate: {0}/server.pem, key: {0}/server.key, clientcas: [{0}/ca.pem]}}"
PASSWORD_SETTINGS = "auth: {{htpasswd: {{realm: r, path: {0}/htpasswd}}}}\n"

SETTLE_SECONDS = .05


class Site:
    """A registry in `folder`, and how the spooler and skopeo get at it."""

    def __init__(self, sandbox, folder: pathlib.Path, kind: str, spooler: pathlib.Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.port = free_port()
        self.url = "%s://localhost:%d" % ("https" if kind == TLS else "http", self.port)
        self.command = [sys.executable, "-I", "-S", spooler]
        self.options = ["--registry", self.url, "--retry-seconds", "20"]
        self.skopeo = ["--src-tls-verify=false"]
        tls = TLS_SETTINGS.format(folder) if kind == TLS else ""
        settings = SETTINGS.format(folder=folder, port=self.port, tls=tls)
        if kind == TLS:
            make_certificates(sandbox, folder)
            self.options += ["--ca-file", folder / "ca.pem", "--client-certificate", folder / "client.pem",
                             "--client-key", folder / "client.key"]
            self.skopeo = ["--src-cert-dir", folder / "client"]
        if kind == PASSWORD:
            (folder / "htpasswd").write_text(HTPASSWD)
            (folder / "credentials").write_text(CREDENTIALS)
            settings += PASSWORD_SETTINGS.format(folder)
            self.options += ["--credentials", folder / "credentials"]
            self.skopeo += ["--src-creds", CREDENTIALS]
        (folder / "settings.yml").write_text(settings)

    def registry(self):
        """Context manager: the registry as a Daemon, ready."""
        settings = self.folder / "settings.yml"
        return self.sandbox.daemon(self.folder / "registry.log", "docker-registry", "serve", settings)

    def run(self, command, *arguments, stdin=subprocess.DEVNULL, status=0):
        """A command of the spooler to its end; -> stdout, or stderr if it is to fail."""
        done = subprocess.run(self.command + [command] + list(arguments) + self.options, stdin=stdin, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == status, done.stderr.decode()
        return done.stderr.decode() if status else done.stdout

    @contextlib.contextmanager
    def spooling(self, spool: pathlib.Path):
        """The sidecar, as a process."""
        port = free_port()
        with open(self.folder / "spooler.log", "ab") as log:
            process = subprocess.Popen(
                self.command + ["spool", "--spool", spool, "--settle-seconds", str(SETTLE_SECONDS),
                                "--give-up-seconds", ".5", "--health-port", str(port)] + self.options, stderr=log)
        process.health = "http://127.0.0.1:%d/ready" % port
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def log(self) -> str:
        return (self.folder / "spooler.log").read_text()

    def image_id(self, name: str, folder: pathlib.Path) -> str:
        """`skopeo copy` with every blob, which it checks; -> digest of the config."""
        source = "docker://localhost:%d/%s" % (self.port, name)
        self.sandbox.run("skopeo", "copy", *self.skopeo, source, "dir:%s" % folder)
        return json.loads((folder / "manifest.json").read_text())["config"]["digest"]

    def answer(self, path: str):
        """Of a plain registry: body, or None for 404."""
        request = urllib.request.Request(self.url + path, headers={
            "Accept": ", ".join(oci.MANIFEST_TYPES)})
        try:
            with urllib.request.urlopen(request) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            with error:
                assert error.code == 404
                return None

    def is_whole(self, repository: str, tag: str) -> bool:
        """Whether there is an image; if so, all of it has to be there."""
        manifest = self.answer("/v2/%s/manifests/%s" % (repository, tag))
        if manifest is None:
            return False
        document = json.loads(manifest)
        for blob in [document["config"]] + document["layers"]:
            assert len(self.answer("/v2/%s/blobs/%s" % (repository, blob["digest"]))) == blob["size"]
        return True


def make_certificates(sandbox, folder: pathlib.Path) -> None:
    """An authority, and what it signed: server.pem for localhost, client.pem."""
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    sandbox.run("openssl", "req", "-x509", *new_key, "-keyout", folder / "ca.key", "-out", folder / "ca.pem",
                "-subj", "/CN=ca")
    for name, extension in (("server", "subjectAltName=DNS:localhost"), ("client", "extendedKeyUsage=clientAuth")):
        (folder / "extension").write_text(extension)
        sandbox.run("openssl", "req", *new_key[:-2], "-keyout", folder / (name + ".key"), "-out", folder / "request",
                    "-subj", "/CN=" + name)
        sandbox.run("openssl", "x509", "-req", "-in", folder / "request", "-CA", folder / "ca.pem", "-CAkey",
                    folder / "ca.key", "-CAcreateserial", "-days", "2", "-extfile", folder / "extension", "-out",
                    folder / (name + ".pem"))
    for source, target in (("ca.pem", "ca.crt"), ("client.pem", "client.cert"), ("client.key", "client.key")):
        path = folder / "client" / target  # as skopeo wants to find them
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((folder / source).read_bytes())

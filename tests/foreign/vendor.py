"""A gateway with projects for the vendor's SDKs: numeric keys with secrets, and applications.

It uses the certificate of the gateway that is already running.
"""

import base64
import json
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateways import ANY, Address, Project, running

RSA_BITS = 2048
# Low enough for a test to reach it at once.
LIMITED_SIGNALS_PER_SECOND = 1


@dataclass(frozen=True)
class Application:
    """A project of the vendor's newer kind: a UUID and a key pair."""

    key: str
    private_key: Path  # PEM, PKCS#8

    @property
    def pem(self) -> str:
        return self.private_key.read_text()


Credentials = Project | Application


@dataclass(frozen=True)
class Vendor:
    """The gateway, and the credentials of a customer of its operator."""

    quic: Address
    https: Address
    ca: Path

    project: Project
    older: Project  # the same project, with the secret that is being replaced
    other: Project
    application: Application
    # Their projects have low limits.
    limited: Project
    limited_application: Application
    # Events in its sessions are posted to a webhook.
    watched: Project
    webhook_secret: str

    # These have a wrong secret and a wrong key.
    wrong: Project
    wrong_application: Application


@dataclass(frozen=True)
class Customers:
    """The projects of an operator, and their part of a gateway's configuration."""

    vendor: Vendor  # without addresses
    config: str

    def at(self, announcement: str) -> Vendor:
        announced = json.loads(announcement)
        return replace(
            self.vendor,
            quic=Address.parse(announced["quic"]),
            https=Address.parse(announced["https"]),
        )


@contextmanager
def vendor_gateway(directory: Path, stderr_path: Path, ca: Path, webhook: str) -> Iterator[Vendor]:
    """The certificate that `ca` signed is in the same folder."""
    customers = new_customers(directory, ca, webhook)
    config = directory / "gateway.toml"
    config.write_text(customers.config)
    with running(stderr_path, "--config", str(config)) as announcement:
        yield customers.at(announcement)


def new_customers(directory: Path, ca: Path, webhook: str) -> Customers:
    """The certificate that `ca` signed is in the same folder."""
    project = Project("12345678", new_secret())
    older = Project(project.key, new_secret())
    application = new_application(directory)
    limited = Project("1234567", new_secret())
    limited_application = new_application(directory)
    other = Project("987654321", new_secret())
    watched = Project("2147483647", new_secret())
    webhook_secret = new_webhook_secret()
    limits = f"limits = {{ signals_per_second = {LIMITED_SIGNALS_PER_SECOND} }}"
    config = "\n\n".join(
        [
            f'[tls]\ncertificate = "{ca.parent / "leaf.pem"}"\nkey = "{ca.parent / "leaf.key"}"',
            with_secrets(project.key, project.secret, older.secret),
            with_secrets(other.key, other.secret),
            # Both ways to configure a public key: by its path, and in full.
            with_public_key(application.key, str(public_key_path(application))),
            with_secrets(limited.key, limited.secret) + f"\n{limits}",
            with_public_key(limited_application.key, public_pem(limited_application))
            + f"\n{limits}",
            with_secrets(watched.key, watched.secret)
            + f'\nwebhook = {{ url = "{webhook}", secret = "{webhook_secret}" }}',
        ]
    )
    vendor = Vendor(
        quic=ANY,
        https=ANY,
        ca=ca,
        project=project,
        older=older,
        other=other,
        application=application,
        limited=limited,
        limited_application=limited_application,
        watched=watched,
        webhook_secret=webhook_secret,
        wrong=Project(project.key, new_secret()),
        wrong_application=Application(application.key, limited_application.private_key),
    )
    return Customers(vendor, config)


def with_secrets(key: str, *those: str) -> str:
    return f'[[projects]]\nkey = "{key}"\nsecrets = {json.dumps(those)}'


def with_public_key(key: str, public_key: str) -> str:
    return f'[[projects]]\nkey = "{key}"\npublic_keys = {json.dumps([public_key])}'


def new_secret() -> str:
    """A secret in the vendor's form: 40 hex characters."""
    return secrets.token_hex(20)


def new_webhook_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def new_application(directory: Path) -> Application:
    key = str(uuid.uuid4())
    path = directory / f"{key}.pem"
    private = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return Application(key, path)


def public_pem(application: Application) -> str:
    private = serialization.load_pem_private_key(application.private_key.read_bytes(), None)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public.decode()


def public_key_path(application: Application) -> Path:
    path = application.private_key.with_suffix(".pub.pem")
    path.write_text(public_pem(application))
    return path

"""TLS of links between nodes: both sides show a certificate of one authority."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from llmgine.actors.link.errors import LinkError


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of this node; the same three that Ray takes for its own TLS.

    The certificate must name the address that other nodes dial.
    """

    certificate: Path
    key: Path
    authority: Path

    def server(self) -> ssl.SSLContext:
        """For listening: whoever dials must show a certificate of the authority."""
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self) -> ssl.SSLContext:
        """For dialling: the other side must be the host that was dialled."""
        return self._context(ssl.PROTOCOL_TLS_CLIENT)

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.authority)
        except OSError as error:
            raise LinkError(f"TLS files cannot be used ({error}): {self}") from error
        return context

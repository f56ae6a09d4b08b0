"""The certificate that the public port shows, taken anew from its files when told to."""

import ssl
from pathlib import Path

import structlog

log = structlog.get_logger()


class Certificate:
    """Driven by the listener (`context`) and by SIGHUP (`reload`). Connections that are up keep what they have seen."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """
        Raises:
            OSError: a file cannot be read.
            ssl.SSLError: the files are no certificate and key, or do not belong together.
        """
        self._files = certificate, key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.load_cert_chain(certificate, key)

    def reload(self) -> None:
        """Show the files as they are now; if they cannot be used, go on with what we have."""
        certificate, key = self._files
        try:
            # A context that failed half-way through would show nothing usable.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
            self.context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as fault:
            log.error("certificate not reloaded", path=str(certificate), error=str(fault))
            return
        log.info("certificate reloaded", path=str(certificate))

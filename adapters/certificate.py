"""Until when the certificate of an HTTPS address is valid."""

from __future__ import annotations

import asyncio
import ssl
from datetime import datetime
from typing import Final

HANDSHAKE_S: Final = 10.0


async def valid_until(host: str, port: int) -> datetime:
    """The end of the certificate that *host*:*port* shows, whoever has signed it. Nothing is sent but a handshake.

    Raises: OSError (ssl.SSLError and TimeoutError among them) where there is no handshake, ValueError where what is
    shown cannot be read.
    """
    from cryptography import x509

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # one that has expired is to be told of, too
    async with asyncio.timeout(HANDSHAKE_S):
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()  # no server has to say good-bye
    return x509.load_der_x509_certificate(shown or b"").not_valid_after_utc

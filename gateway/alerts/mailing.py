"""Alerts as e-mail: what the message is made of, and handing it to the mail server.

Promises: what stands in a header is one printable line; the words of a mail server are not
repeated, only its codes; a password goes over an encrypted connection alone (`jobs` refuses the
rest).
"""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import format_datetime

from gateway.alerts.messages import Message, printable
from gateway.alerts.outbox import Delivery
from gateway.clock import to_datetime
from gateway.jobs.alert_rules import Destination, MailServer

_TIMEOUT_SECONDS = 10.0
"""For each step of the conversation."""


class NotDelivered(Exception):
    """It did not arrive; says why, without any address or secret."""


def composed(
    mail: MailServer, destination: Destination, delivery: Delivery, message: Message, org: str
) -> EmailMessage:
    """The e-mail of a delivery: the same in every attempt, its id too."""
    email = EmailMessage()
    email["From"] = mail.sender
    email["To"] = ", ".join(destination.to)
    email["Subject"] = f"[{printable(org)}] {printable(message.title)}"
    email["Date"] = format_datetime(to_datetime(delivery.created_at))
    email["Message-ID"] = f"<{delivery.id}@{mail.sender.rpartition('@')[2]}>"
    email["Auto-Submitted"] = "auto-generated"  # holiday notices do not answer it
    email.set_content(f"{message.title}\n\n{message.text}\n")
    if message.html:
        email.add_alternative(message.html, subtype="html")
    return email


def hand_over(mail: MailServer, password: str | None, email: EmailMessage) -> str:
    """Give it to the mail server; returns what was odd, or nothing. Blocks.

    Raises NotDelivered.
    """
    try:
        with _connected(mail) as server:
            if mail.security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if mail.username is not None:
                server.login(mail.username, password or "")
            refused = server.send_message(email)
    except smtplib.SMTPRecipientsRefused as error:
        raise NotDelivered(f"the mail server refused all {len(error.recipients)} of them") from None
    except smtplib.SMTPResponseException as error:
        raise NotDelivered(f"the mail server answered {error.smtp_code}") from None
    except (smtplib.SMTPException, OSError) as error:
        raise NotDelivered(f"the mail server: {type(error).__name__}") from None
    return f"the mail server refused {len(refused)} of the addresses" if refused else ""


def _connected(mail: MailServer) -> smtplib.SMTP:
    if mail.security == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(mail.host, mail.port, timeout=_TIMEOUT_SECONDS, context=context)
    return smtplib.SMTP(mail.host, mail.port, timeout=_TIMEOUT_SECONDS)

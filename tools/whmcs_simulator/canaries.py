"""Recognisable texts for fields that must never be stored: a search for a prefix finds every leak."""

import zlib
from typing import Final

PREFIXES: Final = {
    "service_username": "cnryusr",
    "service_password": "cnry-service-password-",
    "service_notes": "cnry-service-note-",
    "custom_field": "cnry-custom-field-",
    "option_value": "cnry-option-value-",
    "addon_notes": "cnry-addon-note-",
    "domain_notes": "cnry-domain-note-",
    "invoice_notes": "cnry-invoice-note-",
    "order_notes": "cnry-order-note-",
    "promotion_notes": "cnry-promotion-note-",
    "client_notes": "cnry-client-note-",
    "client_password": "cnry-client-hash-",
    "security_answer": "cnry-security-answer-",
    "tax_id": "CNRYTAX",
    "subscription_id": "cnry-subscription-",
    "address": "Cnrystraat",
    "transfer_secret": "cnry-transfer-secret-",
    "fraud_output": "cnry-fraud-output-",
    "order_data": "cnry-order-data-",
    "transaction_reference": "cnry-transaction-",
    "transaction_text": "cnry-payer-",
    "log_text": "cnry-log-",
    "email_domain": "cnry-mail.example",
}


def secret(field: str, of: int) -> str:
    """Return the secret of a row. It begins with the prefix of its field and is always the same for a row."""
    return f"{PREFIXES[field]}{of}x{zlib.crc32(f'{field}{of}'.encode()):08x}"

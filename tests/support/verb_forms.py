"""Every verb with each argument and option that takes a value. No form changes anything, whatever the value is."""

from __future__ import annotations

LIST = ("type", "source", "worker", "outcome", "key", "event", "since", "limit")
FILE = "https://example.com/a.pdf"
SENT = {"text": "hello", "template": "t", "media": FILE}
CAMPAIGN = (
    *(
        "template",
        "language",
        "csv",
        "branch",
        "order-status",
        "country",
        "since",
        "until",
        "speaks",
        "var",
        "provider",
    ),
    *("account", "rate", "category", "consent", "quiet", "ends"),
)
MESSAGES = ("to", "status", "provider", "direction", "purpose", "since", "limit")
SENDING = ("provider", "account", "fallback", "key", "at")
REACTING = ("provider", "account", "key", "at")
LETTERS = ("worker", "class", "text")
FORMS = [
    ["events", "show", "*"],
    ["dead-letters", "show", "*"],
    ["orders", "show", "*"],
    *(["orders", "list", f"--{name}", "*"] for name in ("status", "since", "limit")),
    ["orders", "correct", "--dry-run", "--name", "x", "*"],
    *(["orders", "correct", "--dry-run", "IL-nothing", f"--{name}", "*"] for name in ("phone", "email", "name")),
    ["sync", "order", "--dry-run", "*"],
    *(["sync", "failed", "--dry-run", f"--{name}", "*"] for name in ("since", "error", "rate")),
    *(["sync", "bulk", "--dry-run", f"--{n}", "*"] for n in ("from", "to", "branch", "status", "file", "rate")),
    ["validate", "*"],
    ["validate", "--file", "*"],
    ["contacts", "find", "*"],
    ["contacts", "find", "ann", "--limit", "*"],
    ["contacts", "show", "*"],
    *(["contacts", "conflicts", f"--{name}", "*"] for name in ("since", "limit")),
    ["contacts", "merge", "--dry-run", "*", "ann"],
    ["contacts", "merge", "--dry-run", "ann", "*"],
    ["contacts", "unmerge", "--dry-run", "*"],
    *(["send", verb, "--dry-run", "*", what] for verb, what in SENT.items()),
    *(["send", verb, "--dry-run", "+972505550142", "*"] for verb in SENT),
    *(["send", v, "--dry-run", "+972505550142", w, f"--{n}", "*"] for v, w in SENT.items() for n in SENDING),
    *(["send", "template", "--dry-run", "+972505550142", "t", f"--{name}", "*"] for name in ("language", "var")),
    *(
        ["send", "media", "--dry-run", "+972505550142", FILE, f"--{name}", "*"]
        for name in ("type", "caption", "filename")
    ),
    ["send", "choices", "--choice", "a", "--dry-run", "*", "which?"],
    ["send", "choices", "--choice", "a", "--dry-run", "+972505550142", "*"],
    ["send", "choices", "--dry-run", "+972505550142", "which?", "--choice", "*"],
    *(["send", "choices", "--dry-run", "+972505550142", "w", "--choice", "a", f"--{n}", "*"] for n in SENDING),
    *(["messages", "list", f"--{name}", "*"] for name in MESSAGES),
    ["messages", "show", "*"],
    ["messages", "cancel", "--dry-run", "*"],
    ["send", "reaction", "--dry-run", "*", "wamid.1", "👍"],
    ["send", "reaction", "--dry-run", "+972505550142", "*", "👍"],
    ["send", "reaction", "--dry-run", "+972505550142", "wamid.1", "*"],
    *(["send", "reaction", "--dry-run", "+972505550142", "wamid.1", "👍", f"--{n}", "*"] for n in REACTING),
    ["send", "text", "--dry-run", "--split", "+972505550142", "*"],
    ["send", "read", "--dry-run", "*"],
    ["send", "read", "--dry-run", "6f1d1b56-5d0c-5f0e-9a37-0d7a5b1c2e11", "--account", "*"],
    ["templates", "list", "--provider", "*"],
    ["templates", "sync", "--dry-run", "--provider", "*"],
    ["send", "automatic", "--dry-run", "*"],
    ["campaign", "create", "--template", "t", "--csv", "/nowhere", "*"],
    *(["campaign", "create", "n", "--template", "t", "--dry-run", f"--{name}", "*"] for name in CAMPAIGN),
    *(["campaign", verb, "--dry-run", "*"] for verb in ("start", "pause", "resume", "stop")),
    *(["campaign", verb, "*"] for verb in ("status", "report")),
    ["campaign", "report", "nothing", "--out", "*"],
    ["uncertain", "settle", "--sent", "--dry-run", "*"],
    *(["credentials", verb, "--dry-run", "*"] for verb in ("set", "delete")),
    *(["credentials", "set", "--dry-run", "meta", f"--{name}", "*"] for name in ("account", "from")),
    ["credentials", "delete", "--dry-run", "meta", "--account", "*"],
    ["chatwoot", "setup", "--dry-run", "--env-file", "*"],
    ["send-test", "*"],
    *(["send-test", "--timeout", "0.1", "orders", f"--{name}", "*"] for name in ("url", "timeout")),
    ["pause", "*"],
    ["resume", "*"],
    ["partitions", "*"],
    ["refused", "list", "--limit", "*"],
    ["refused", "show", "*"],
    ["refused", "resend", "--dry-run", "*"],
    ["refused", "resend", "--dry-run", "1", "--edit", "*"],
    ["workers", "forget", "--dry-run", "*"],
    *(["events", "list", f"--{name}", "*"] for name in LIST),
    *(["dead-letters", "list", f"--{name}", "*"] for name in LETTERS),
    *(["dead-letters", verb, "--dry-run", "*"] for verb in ("retry", "discard")),
    *(["dead-letters", v, "--dry-run", f"--{name}", "*"] for v in ("retry", "discard") for name in LETTERS),
    ["dead-letters", "retry", "--dry-run", "1", "--edit", "*"],
    *(["replay", "--dry-run", "--worker", "journal", f"--{n}", "*"] for n in ("from", "to", "type", "key", "event")),
    ["replay", "--dry-run", "--worker", "*"],
    ["config", "show", "--env-file", "*"],
    ["rules", "init", "--dry-run", "*"],
]
"""Every argument of every verb, at the place of the asterisk."""

"""ChatGPT Builder (CGB): one port, two styles. `live` follows the running service, `documented` follows its older
documents."""

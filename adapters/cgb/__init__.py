"""ChatGPT Builder (CGB): one port, two styles. `live` speaks what the running service answers, `documented` what older
documents say."""

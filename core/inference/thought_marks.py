"""What opens a thought, and what closes it, in the templates and texts of reasoning models."""

THOUGHTS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
    "<|START_THINKING|>": "<|END_THINKING|>",
}


def open_thought(text: str) -> str:
    """The mark of a thought that a text opens and leaves open; "" where it leaves none open."""
    for opens, closes in THOUGHTS.items():
        if opens in text and closes not in text.rpartition(opens)[2]:
            return opens
    return ""

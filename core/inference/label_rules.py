"""What counts as the probability of an option: rules, by name, and their words."""

from __future__ import annotations

# What a user chooses. LABEL: its label is written and not continued into another label of the
# question, whatever follows. TURN: its label is written and the turn ends right after it.
LABEL = "label"
TURN = "turn"
LABEL_RULES = (LABEL, TURN)

CHOICE = "what counts as an option: its label, or label and end of turn"
RULE_WORDS = {
    LABEL: "when its label is written and not continued into another, whatever follows",
    TURN: "when its label is written and the turn ends right after it",
}

# What an answer was read by. Where every label is one token of its own both rules are this one.
SINGLE = "single token"
NOT_CONTINUED = "label, not continued into another"
WHOLE = "whole label, end of turn"

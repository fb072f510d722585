"""Replaces a check of schemathesis for requests that are valid by the document.

OpenAPI cannot express how parameters depend on each other, on the clock, on an earlier answer or on the
names of time zones. So a valid request may be refused, but only by one of these rules.
"""

import re

import schemathesis

RULES = re.compile(
    "|".join(
        [
            "cannot be combined with",
            "must (lie|be) after",
            "may cover at most",
            "gives (more than )?[0-9]+ (points|frames)",
            "need each other",
            "rate needs at$",
            "with at[ ,]",
            "must not be less than min_",
            "one of .* is needed",
            "sort by sessions_ended",
            "is not a next_cursor",
            "an export has no pages",
            "must be in the future",
            "must be a time zone name",
            "must be a (date|time) that exists",
            "must be at most a day",
        ]
    )
)


@schemathesis.check
def valid_request_is_refused_by_a_rule_alone(ctx, response, case):
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code != 400:
        return
    errors = response.json().get("errors", [])
    unexplained = [error for error in errors if not RULES.search(error["message"])]
    assert errors and not unexplained, f"refused without a rule: {unexplained}"

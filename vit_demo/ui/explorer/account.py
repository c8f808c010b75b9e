"""The decomposition of a class's logit into parts, as JSON data."""

from typing import Any

from vit_demo.analysis import Analysis


def account_data(analysis: Analysis) -> dict[str, Any]:
    """The named parts, their sum, and the logit that the model computed.

    The logit is centered: the mean logit of all classes, or the logit of the other class, is
    subtracted.
    """
    account = analysis.account
    if account is None:
        raise RuntimeError(f"'{analysis.method}' has no account; ask a method that has one.")
    parts = [("patches", float(account.patches.double().sum()))]
    prefix = account.prefix_tokens.tolist()
    for name, count in analysis.checkpoint.model.config.prefix_tokens.items():
        parts.append((name, sum(prefix[:count])))
        prefix = prefix[count:]
    parts += [
        ("mlps", account.mlps),
        ("embedding", account.embedding),
        ("biases", account.biases),
    ]
    classes = {"target": (analysis.target or analysis.predictions[0]).label}
    if analysis.versus:
        classes["versus"] = analysis.versus.label
    return {
        "parts": [{"label": {"key": f"account.{name}"}, "value": value} for name, value in parts],
        "total": account.total,
        "logit": account.centred_logit,
        "sum": {
            "key": "account.sum.versus" if analysis.versus else "account.sum",
            "parameters": classes,
        },
    }

"""Answers questions about the real PyYAML and dbt: one JSON request a line on stdin, one JSON answer a line on stdout.

A request names its kind; `@answers("kind")` adds one. What the real code raises comes back as {"refused": its class, …}.
"""

import base64
import datetime
import json
import logging
import sys

import resolution

# python-dotenv warns of each odd line; the answer says what it made of it.
logging.disable(logging.WARNING)

KINDS = {}

# An alias bomb is small as objects and endless as JSON.
LIMIT = 200_000


def answers(kind):
    def register(function):
        KINDS[kind] = function
        return function

    return register


class Endless(Exception):
    """More values than LIMIT, or a value that contains itself."""


class Encoder:
    """Python values as JSON that keeps their types and order."""

    def __init__(self):
        self.count = 0

    def encode(self, value, above=()):
        self.count += 1
        if self.count > LIMIT or id(value) in above:
            raise Endless
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return {"int": str(value)}
        if isinstance(value, float):
            return {"float": value.hex()}
        if isinstance(value, (datetime.date, datetime.datetime)):
            return {"timestamp": value.isoformat()}
        if isinstance(value, bytes):
            return {"unusable": "!!binary"}
        if isinstance(value, set):
            return {"unusable": "!!set"}
        above = (*above, id(value))
        if isinstance(value, list):
            if value and all(isinstance(item, tuple) for item in value):
                return {"unusable": "pairs"}
            return [self.encode(item, above) for item in value]
        if isinstance(value, dict):
            return {"map": [[self.encode(key, above), self.encode(item, above)] for key, item in value.items()]}
        return {"unusable": type(value).__name__}


@answers("yaml_version")
def yaml_version(request):
    """The version of PyYAML."""
    import yaml

    return {"version": yaml.__version__}


@answers("yaml_load")
def yaml_load(request):
    """The value of a document's bytes (base64), as dbt reads a profiles.yml."""
    import yaml

    contents = base64.b64decode(request["document"]).decode("utf-8")
    return {"value": Encoder().encode(yaml.load(contents, Loader=yaml.CSafeLoader))}


RENDERER = {}


@answers("profile_render")
def profile_render(request):
    """The rendered output of a profile: `document` (text), `profile`, `target` (or null), `env`."""
    from dbt.clients.yaml_helper import load_yaml_text
    from dbt.config.profile import Profile
    from dbt.config.renderer import ProfileRenderer
    from dbt_common.context import set_invocation_context

    env = request.get("env", {})
    # Other questions set it too.
    set_invocation_context(env)
    if RENDERER.get("env") != env:
        RENDERER.update(env=env, renderer=ProfileRenderer({}))
    document = load_yaml_text(request["document"])
    target, output = Profile.render_profile(
        document[request["profile"]], request["profile"], request.get("target"), RENDERER["renderer"]
    )
    return {"target": target, "output": Encoder().encode(output)}


@answers("targets")
def targets(request):
    """Every profile and target of a profiles.yml, as pairs."""
    from dbt.clients.yaml_helper import load_yaml_text

    document = load_yaml_text(request["document"])
    return {
        "targets": [
            [name, target]
            for name, profile in document.items()
            if isinstance(profile, dict) and "outputs" in profile
            for target in profile["outputs"]
        ]
    }


@answers("profile")
def profile(request):
    """The rendered output as in `profile_render`, after dbt has taken it: credentials where the adapter is installed, `threads` anywhere."""
    from dbt.clients.yaml_helper import load_yaml_text
    from dbt.config.profile import Profile
    from dbt.contracts.project import ProfileConfig
    from dbt_common.dataclass_schema import ValidationError
    from dbt.flags import set_from_args
    from argparse import Namespace

    set_from_args(Namespace(), {})
    answer = profile_render(request)
    document = load_yaml_text(request["document"])
    raw, name, target = document[request["profile"]], request["profile"], request["target"]
    output = Profile.render_profile(raw, name, target, RENDERER["renderer"])[1]
    if output["type"] in ("postgres", "duckdb"):
        Profile.from_raw_profile_info(raw, name, RENDERER["renderer"], target_override=target)
    else:
        info = {"profile_name": name, "target_name": target, "threads": output.get("threads", 1), "credentials": {}}
        ProfileConfig.validate(info)
    return answer


@answers("edits")
def edits(request):
    """What PyYAML's own scanner finds changed from `old` to `new`: the new texts of scalars, and everything else as `other`."""
    import re

    import yaml

    def tokens(text):
        return list(yaml.scan(text, Loader=yaml.SafeLoader))

    old, new = (request[name].removeprefix("\ufeff") for name in ("old", "new"))
    texts, other = [], []
    if len(tokens(old)) != len(tokens(new)):
        return {"texts": [], "other": ["another number of tokens"]}
    end_old = end_new = 0
    # What stood behind the `|` or `>` of a block scalar that was replaced.
    header = None
    for before, after in zip(tokens(old), tokens(new)):
        between_old, between_new = old[end_old : before.start_mark.index], new[end_new : after.start_mark.index]
        if header is not None:
            # A block scalar's token ends where the next begins.
            blank = between_new.removeprefix(header)
            blank = blank[: len(blank) - len(between_old)]
            same = between_new.startswith(header) and between_new.endswith(between_old) and not blank.strip()
        else:
            same = between_old == between_new
        if not same:
            other.append(f"between tokens, before line {before.start_mark.line + 1}")
        written_old = old[before.start_mark.index : before.end_mark.index]
        written_new = new[after.start_mark.index : after.end_mark.index]
        header = None
        if written_old != written_new:
            replaceable = isinstance(before, (yaml.ScalarToken, yaml.AliasToken))
            if replaceable and isinstance(after, yaml.ScalarToken):
                texts.append(after.value)
                if after.style != ("'" if getattr(before, "style", None) == "'" else '"'):
                    other.append(f"the quotes on line {before.start_mark.line + 1}")
                if getattr(before, "style", None) in ("|", ">"):
                    header = re.match(r"[|>][-+0-9]*([^\r\n]*)", written_old).group(1)
            else:
                other.append(f"a token on line {before.start_mark.line + 1}")
        end_old, end_new = before.end_mark.index, after.end_mark.index
    if old[end_old:] != new[end_new:] and header is None:
        other.append("the end")
    if request["old"].startswith("\ufeff") != request["new"].startswith("\ufeff"):
        other.append("the byte order mark")
    return {"texts": texts, "other": other}


KINDS.update(resolution.KINDS)


def answer(request):
    try:
        return KINDS[request["kind"]](request)
    except Endless:
        return {"endless": True}
    except Exception as error:
        mark = getattr(error, "problem_mark", None)
        refusal = {"refused": type(error).__name__, "message": str(error)}
        if mark is not None:
            refusal.update(line=mark.line + 1, column=mark.column + 1)
        return refusal


def main():
    # dbt prints; the answers have the real stdout for themselves.
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main()

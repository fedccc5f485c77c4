"""dbt's profile_hash of outputs, by the adapters' own credential classes: a JSON line in, a line out; `refused` where the class would."""

import hashlib
import importlib
import json
import pprint
import sys

answers = sys.stdout
# Adapters print when they are imported.
sys.stdout = sys.stderr


def hash_of(output):
    credentials = importlib.import_module("dbt.adapters." + output.pop("type")).Plugin.credentials
    output.pop("threads", None)
    data = credentials.translate_aliases(output)
    credentials.validate(data)
    pairs = sorted(credentials.from_dict(data).connection_info())
    return hashlib.sha256(pprint.pformat(pairs).encode("utf-8")).hexdigest()


for line in sys.stdin:
    try:
        answer = hash_of(json.loads(line))
    except ModuleNotFoundError:
        answer = "missing"
    except Exception as error:
        answer = f"refused: {type(error).__name__} {str(error)[:200]!r}"
    print(answer, file=answers, flush=True)

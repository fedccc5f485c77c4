"""dbt's own credential classes on generated profiles: a JSON list of directories on stdin, a JSON list of what they hold on stdout.

Beside the class, each adapter's own reader of the credential is run where it needs no warehouse.
"""

import json
import sys
from argparse import Namespace

# Some adapters print when they are imported.
answers, sys.stdout = sys.stdout, sys.stderr

from dbt.config.profile import Profile, read_profile
from dbt.config.renderer import ProfileRenderer
from dbt.flags import set_from_args

set_from_args(Namespace(), {})


def read_as_the_adapter_does(credentials):
    """What only the adapter's own code can refuse: keys that do not parse, keys that do not go together."""
    kind = credentials.type
    if kind == "snowflake" and credentials.private_key:
        from dbt.adapters.snowflake.auth import private_key_from_string

        return private_key_from_string(credentials.private_key).key_size
    if kind == "bigquery" and credentials.keyfile_json:
        from google.oauth2 import service_account

        return service_account.Credentials.from_service_account_info(credentials.keyfile_json).service_account_email
    if kind == "bigquery":
        from dbt.adapters.bigquery.credentials import BigQueryConnectionMethod

        assert credentials.method == BigQueryConnectionMethod.OAUTH_SECRETS, credentials.method
        return "oauth-secrets"
    if kind == "trino":
        return type(credentials.trino_auth()).__name__
    if kind == "redshift":
        from dbt.adapters.redshift.connections import get_connection_method

        get_connection_method(credentials)
        return credentials.method
    if kind == "databricks":
        credentials.validate_creds()
        return "valid"
    if kind == "duckdb":
        return credentials.secrets_sql()
    return None


def load(directory):
    try:
        raw = read_profile(directory)
        # Each class is made of values with its types: dbt validates them by its own schema here.
        profile = Profile.from_raw_profiles(raw, "jaffle", ProfileRenderer({}))
        credentials = profile.credentials
        return {"keys": credentials.to_dict(omit_none=True), "read": read_as_the_adapter_does(credentials)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


json.dump([load(directory) for directory in json.load(sys.stdin)], answers, default=str)

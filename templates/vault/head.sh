#!/bin/sh
# For the owner of Vault. It may run again and again: what is there stays, or is brought to what stands here. HashiCorp's `vault` and OpenBao's `bao` both do.
#   VAULT_ADDR=… VAULT_TOKEN=… sh {{ "auth.sh" if part == "auth" else "database.sh" if part == "database" else "setup.sh" }}
# ENVIRONMENTS="NAME …" does these alone.
set -eu

VAULT_ADDR=${BAO_ADDR:-${VAULT_ADDR-}}
ENVIRONMENTS=${ENVIRONMENTS-'{% for zone in facts.zones %}{{ zone.name }}{{ " " | verbatim if not loop.last }}{% endfor %}'}
# How long a lease and a token live without renewal, and the longest run.
LEASE_TTL=${LEASE_TTL:-1h}
LONGEST_RUN=${LONGEST_RUN:-8h}
{% if part != "database" %}
# How long a secret id of AppRole is good.
SECRET_ID_TTL=${SECRET_ID_TTL:-2160h}
{% endif %}
{% if part != "auth" %}
# yes: dbt may cancel its own queries on Ctrl-C (pg_signal_backend). The price: each macro may then end every session of the database server that is no
# superuser's. Without it Ctrl-C waits for the queries; what a leased user still runs when its lease is revoked is ended either way.
ALLOW_CANCEL=${ALLOW_CANCEL:-no}
{% endif %}
{% for need in facts.needs %}
{{ need.sh | verbatim }}
{%- endfor %}

say() { printf 'dbt-lease setup: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}
if [ -z "${BAO-}" ]; then
    BAO=$(command -v bao || command -v vault) || die 'there is neither bao nor vault on PATH'
fi
wanted() {
    case " $ENVIRONMENTS " in
    *" $1 "*) return 0 ;;
    *) return 1 ;;
    esac
}
# need NAME VALUE WHY
need() { [ -n "$2" ] || die "set $1: $3"; }
# A string of JSON.
json() { printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')"; }
# The server and namespace of an environment; empty: the caller's own.
at() {
    [ -z "$1" ] || VAULT_ADDR=$1
    [ -z "$2" ] || VAULT_NAMESPACE=$2
    [ -z "$VAULT_ADDR" ] || BAO_ADDR=$VAULT_ADDR
    [ -z "${VAULT_NAMESPACE-}" ] || BAO_NAMESPACE=$VAULT_NAMESPACE
    export VAULT_ADDR
    [ -z "${BAO_ADDR-}" ] || export BAO_ADDR
    [ -z "${VAULT_NAMESPACE-}" ] || export VAULT_NAMESPACE BAO_NAMESPACE
}
# mounted auth|secrets TYPE PATH
mounted() {
    listed=$("$BAO" "$1" list -format=json) || die "cannot list what is enabled ($1)"
    printf '%s' "$listed" | grep -qF "\"$3/\"" || "$BAO" "$1" enable -path="$3" "$2" >&2
}
# put PATH, the JSON on stdin
put() { "$BAO" write "$1" - >/dev/null || die "cannot write $1"; }
{% if part != "auth" %}
there() { "$BAO" read "$1" >/dev/null 2>&1; }
# What stands in an address.
plain() {
    case $1 in
    '' | *[!A-Za-z0-9_.:@-]*) die "a name that needs no quotes is wanted, not: $1" ;;
    esac
}
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
{% endif %}

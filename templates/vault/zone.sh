
# ---- {{ zone.name }}{{ ", protected" | verbatim if zone.protected }}
setup_{{ zone.slug }}() (
    at {{ zone.address | sh }} {{ zone.namespace | sh }}
{% for check in (zone.login_checks if part == "auth" else zone.database_checks if part == "database" else zone.checks) %}
    {{ check | verbatim }}
{% endfor %}

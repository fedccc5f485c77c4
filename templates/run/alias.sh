# In ~/.{{ facts.shell }}rc: source …/dbt-lease.{{ facts.shell }}
# dbt on leased credentials; where a project has no dbt-lease.yml, dbt as it is.
alias dbt=dbt-leased
{% for aim in facts.targets %}

# dbt-{{ aim.slug }} build …: in the environment {{ aim.environment }}
dbt-{{ aim.slug }}() {
    dbt-leased "$@" {{ aim.arguments | verbatim }}
}
{% endfor %}

# In ~/.config/fish/config.fish: source …/dbt-lease.fish
# dbt on leased credentials; where a project has no dbt-lease.yml, dbt as it is.
alias dbt dbt-leased
{% for aim in facts.targets %}

function dbt-{{ aim.slug }} --wraps dbt-leased
    dbt-leased $argv{% if aim.profile %} --profile {{ aim.profile | fish }}{% endif %} --target {{ aim.name | fish }}
end
{% endfor %}

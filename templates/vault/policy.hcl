# {{ zone.role }}: what a run of dbt in the environment {{ zone.name }} asks for, and nothing else.
#   bao policy write {{ zone.role }} {{ zone.role }}.hcl

{{ zone.policy | verbatim }}
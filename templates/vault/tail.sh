
{% for zone in facts.zones %}
if wanted {{ zone.name }}; then setup_{{ zone.slug }}; fi
{% endfor %}

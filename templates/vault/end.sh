{% for left in zone.left %}
    say {{ ("not made here: " ~ left) | sh }}
{% endfor %}
    say 'done: {{ zone.name }}'
)

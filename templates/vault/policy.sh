    say 'policy {{ zone.role }}'
    "$BAO" policy write {{ zone.role | sh }} - >/dev/null <<'HCL'
{{ zone.policy | verbatim }}HCL

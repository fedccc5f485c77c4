# For the owner of Vault, who runs Terraform or OpenTofu: what `dbt-lease generate vault-setup` does as a script. The SQL of the databases is in that script.
# An auth method or engine that is enabled already is imported: terraform import vault_auth_backend.NAME PATH.
terraform {
  required_providers {
    vault = {
      source  = "hashicorp/vault"
      version = ">= 4.0"
    }
  }
}

variable "lease_ttl" {
  type        = number
  description = "seconds that a lease and a token live without renewal"
  default     = 3600
}

variable "longest_run" {
  type        = number
  description = "seconds of the longest run"
  default     = 28800
}
{% for need in facts.needs %}

{{ need.hcl | verbatim }}
{%- endfor %}
{% for mount in facts.logins %}

{% if mount.type == "jwt" %}
resource "vault_jwt_auth_backend" "{{ mount.slug }}" {
  path               = {{ mount.path | hcl }}
  oidc_discovery_url = {{ mount.issuer.hcl | verbatim }}
  bound_issuer       = {{ mount.issuer.hcl | verbatim }}
}
{% else %}
resource "vault_auth_backend" "{{ mount.slug }}" {
  type = "{{ mount.type }}"
  path = {{ mount.path | hcl }}
}
{% endif %}
{% endfor %}
{% for mount in facts.mounts %}

resource "vault_mount" "{{ mount.slug }}" {
  type                         = "database"
  path                         = {{ mount.path | hcl }}
  audit_non_hmac_response_keys = ["username"]
}
{% endfor %}
{% for zone in facts.zones %}
{% set login = zone.login %}

resource "vault_policy" "{{ zone.slug }}" {
  name   = {{ zone.role | hcl }}
  policy = {{ zone.policy | hcl }}
}
{% if login.method == "approle" %}

resource "vault_approle_auth_backend_role" "{{ zone.slug }}" {
  backend                 = vault_auth_backend.{{ login.slug }}.path
  role_name               = {{ zone.role | hcl }}
  bind_secret_id          = true
  secret_id_ttl           = 7776000
  token_policies          = [vault_policy.{{ zone.slug }}.name]
  token_no_default_policy = true
  token_ttl               = var.lease_ttl
  token_max_ttl           = var.longest_run
}
{% elif login.method == "jwt" %}

resource "vault_jwt_auth_backend_role" "{{ zone.slug }}" {
  backend         = vault_jwt_auth_backend.{{ login.slug }}.path
  role_name       = {{ zone.role | hcl }}
  role_type       = "jwt"
  user_claim      = "{{ login.user_claim }}"
  bound_audiences = [{{ login.audience.hcl | verbatim }}]
  bound_claims = {
{% for claim in login.claims %}
    "{{ claim.name }}" = {% if claim.value %}{{ claim.value.hcl | verbatim }}{% else %}false{% endif %}

{% endfor %}
  }
  token_policies          = [vault_policy.{{ zone.slug }}.name]
  token_no_default_policy = true
  token_ttl               = var.lease_ttl
  token_max_ttl           = var.longest_run
}
{% elif login.method == "kubernetes" %}

resource "vault_kubernetes_auth_backend_role" "{{ zone.slug }}" {
  backend                          = vault_auth_backend.{{ login.slug }}.path
  role_name                        = {{ zone.role | hcl }}
  bound_service_account_names      = [var.{{ zone.slug }}_k8s_account]
  bound_service_account_namespaces = [var.{{ zone.slug }}_k8s_namespace]
  token_policies                   = [vault_policy.{{ zone.slug }}.name]
  token_no_default_policy          = true
  token_ttl                        = var.lease_ttl
  token_max_ttl                    = var.longest_run
}
{% elif login.method == "cert" %}

resource "vault_cert_auth_backend_role" "{{ zone.slug }}" {
  backend                 = vault_auth_backend.{{ login.slug }}.path
  name                    = {{ zone.role | hcl }}
  certificate             = file(var.{{ zone.slug }}_client_ca)
  allowed_common_names    = [{{ zone.role | hcl }}]
  token_policies          = [vault_policy.{{ zone.slug }}.name]
  token_no_default_policy = true
  token_ttl               = var.lease_ttl
  token_max_ttl           = var.longest_run
}
{% elif login.method == "aws" %}

resource "vault_aws_auth_backend_role" "{{ zone.slug }}" {
  backend                  = vault_auth_backend.{{ login.slug }}.path
  role                     = {{ zone.role | hcl }}
  auth_type                = "iam"
  bound_iam_principal_arns = [var.{{ zone.slug }}_principal_arn]
  token_policies           = [vault_policy.{{ zone.slug }}.name]
  token_no_default_policy  = true
  token_ttl                = var.lease_ttl
  token_max_ttl            = var.longest_run
}
{% else %}

# A login of the method {{ login.method }}: give its tokens the policy {{ zone.role }}, and not the default one.
{% endif %}
{% for c in zone.connections %}

variable "{{ c.slug }}_vault_password" {
  type        = string
  description = {{ ("the password of " ~ c.admin ~ " in the database, once: bao write -f " ~ c.mount ~ "/rotate-root/" ~ c.name ~ " then changes it") | hcl }}
  sensitive   = true
}

resource "vault_database_secret_backend_connection" "{{ c.slug }}" {
  backend       = vault_mount.{{ c.mount_slug }}.path
  name          = {{ c.name | hcl }}
  plugin_name   = {{ c.plugin | hcl }}
  allowed_roles = [{% for role in c.roles %}{{ role.name | hcl }}{{ ", " | verbatim if not loop.last }}{% endfor %}]

  {{ c.block }} {
    connection_url    = {{ c.url.hcl | verbatim }}
    username          = {{ c.admin | hcl }}
    password          = var.{{ c.slug }}_vault_password
    username_template = {{ c.username_template | hcl }}
{% if c.family == "postgres" %}
    password_authentication = "scram-sha-256"
{% endif %}
  }

  lifecycle {
    ignore_changes = [{{ c.block }}[0].password]
  }
}
{% for role in c.roles %}
{% if role.fixed %}

resource "vault_database_secret_backend_static_role" "{{ role.slug }}" {
  backend         = vault_mount.{{ c.mount_slug }}.path
  name            = {{ role.name | hcl }}
  db_name         = vault_database_secret_backend_connection.{{ c.slug }}.name
  username        = {{ role.user | hcl }}
  rotation_period = 86400
}
{% else %}

resource "vault_database_secret_backend_role" "{{ role.slug }}" {
  backend     = vault_mount.{{ c.mount_slug }}.path
  name        = {{ role.name | hcl }}
  db_name     = vault_database_secret_backend_connection.{{ c.slug }}.name
  default_ttl = var.lease_ttl
  max_ttl     = var.longest_run
{% if c.family == "snowflake" %}
  credential_type = "rsa_private_key"
  credential_config = {
    key_bits = "2048"
    format   = "pkcs8"
  }
{% endif %}
  creation_statements   = [{% for text in role.creation %}{{ text.hcl | verbatim }}{{ ", " | verbatim if not loop.last }}{% endfor %}]
  renew_statements      = [{% for text in role.renew %}{{ text.hcl | verbatim }}{{ ", " | verbatim if not loop.last }}{% endfor %}]
  revocation_statements = [{% for text in role.revocation %}{{ text.hcl | verbatim }}{{ ", " | verbatim if not loop.last }}{% endfor %}]
  rollback_statements   = [{% for text in role.rollback %}{{ text.hcl | verbatim }}{{ ", " | verbatim if not loop.last }}{% endfor %}]
}
{% endif %}
{% endfor %}
{% endfor %}
{% endfor %}

locals {
  settings = merge(
    {
      SPIN_VARIABLE_CF_ACCOUNT_ID  = var.account_id
      SPIN_VARIABLE_CF_BAN_LIST_ID = cloudflare_list.this["ban"].id
    },
    { for remediation, list in cloudflare_list.this : "SPIN_VARIABLE_CF_CAPTCHA_LIST_ID" => list.id if remediation == "captcha" },
    { for namespace in cloudflare_workers_kv_namespace.this : "SPIN_VARIABLE_CF_KV_NAMESPACE_ID" => namespace.id },
  )
  secret_settings = { for token in cloudflare_account_token.sync : "SPIN_VARIABLE_CF_API_TOKEN" => token.value }
}

output "settings" {
  description = "The settings that are no secret: environment of the component, or of `host`."
  value       = local.settings
}

output "settings_env" {
  description = "The same as lines of a settings.env."
  value       = join("", [for name, value in local.settings : "${name}=${value}\n"])
}

output "secret_settings" {
  description = "The settings that are a secret; {} without create_token. Also in Terraform's state: keep that safe."
  sensitive   = true
  value       = local.secret_settings
}

output "secret_settings_env" {
  description = "The same as lines of a secret.env."
  sensitive   = true
  value       = join("", [for name, value in local.secret_settings : "${name}=${value}\n"])
}

output "settings" {
  description = "The settings that are no secret: environment of the component, or of `host`."
  value = merge(
    {
      SPIN_VARIABLE_CF_ACCOUNT_ID  = var.account_id
      SPIN_VARIABLE_CF_BAN_LIST_ID = cloudflare_list.this["ban"].id
    },
    { for list in cloudflare_list.this : "SPIN_VARIABLE_CF_CAPTCHA_LIST_ID" => list.id if list.name == var.captcha_list_name },
    { for namespace in cloudflare_workers_kv_namespace.this : "SPIN_VARIABLE_CF_KV_NAMESPACE_ID" => namespace.id },
  )
}

output "secret_settings" {
  description = "The settings that are a secret; {} without create_token. Also in Terraform's state: keep that safe."
  sensitive   = true
  value       = { for token in cloudflare_account_token.sync : "SPIN_VARIABLE_CF_API_TOKEN" => token.value }
}

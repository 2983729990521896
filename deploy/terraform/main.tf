# The Cloudflare side of crowdsec-edge-sync: lists, KV namespace, WAF rules, and a token that can do
# nothing else. Names, refs and expressions are those of `edge-sync setup`; a test compares them.

locals {
  lists = {
    for remediation, name in {
      ban     = var.ban_list_name
      captcha = var.captcha_list_name
    } : remediation => name if name != ""
  }

  # Block before challenge: who is on both lists is blocked.
  rules = [
    {
      list        = "ban"
      ref         = "crowdsec_edge_sync_ban"
      description = "CrowdSec: block banned addresses"
      action      = "block"
    },
    {
      list        = "captcha"
      ref         = "crowdsec_edge_sync_captcha"
      description = "CrowdSec: challenge suspicious addresses"
      action      = "managed_challenge"
    },
  ]

  # No list, no permission for lists: KV alone needs none.
  token_permissions = concat(
    length(local.lists) == 0 ? [] : ["Account Rule Lists Write"],
    var.kv_namespace_title == "" ? [] : ["Workers KV Storage Write"],
  )
}

resource "cloudflare_list" "this" {
  for_each = local.lists

  account_id  = var.account_id
  name        = each.value
  kind        = "ip"
  description = "Made by Terraform for crowdsec-edge-sync; its items are CrowdSec's"

  lifecycle {
    # The items come and go with CrowdSec's decisions, every two minutes.
    ignore_changes = [items]
  }
}

resource "cloudflare_workers_kv_namespace" "this" {
  count = var.kv_namespace_title == "" ? 0 : 1

  account_id = var.account_id
  title      = var.kv_namespace_title
}

# All custom rules of the zone, ours and yours: the provider replaces them as a whole. Creation fails,
# and changes nothing, where a zone has custom rules already: import them first.
resource "cloudflare_ruleset" "custom_rules" {
  for_each = var.zones

  zone_id = each.value.zone_id
  kind    = "zone"
  name    = "default"
  phase   = "http_request_firewall_custom"

  # By this word `edge-sync doctor` tells who writes the rules.
  description = "Made by Terraform for crowdsec-edge-sync"

  rules = concat(
    each.value.rules_before,
    [
      for rule in local.rules : {
        ref         = rule.ref
        description = rule.description
        # A rule names its list by name. Through the resource, so that the list is made first.
        expression        = format("(ip.src in $%s)", cloudflare_list.this[rule.list].name)
        action            = rule.action
        enabled           = true
        logging           = null
        action_parameters = null
      } if contains(keys(local.lists), rule.list)
    ],
    each.value.rules_after,
  )

  lifecycle {
    # Another name would replace an imported ruleset: for a moment the zone would have no rules.
    ignore_changes = [name, description]
  }
}

data "cloudflare_account_api_token_permission_groups_list" "all" {
  count = var.create_token ? 1 : 0

  account_id = var.account_id
}

resource "cloudflare_account_token" "sync" {
  count = var.create_token ? 1 : 0

  account_id = var.account_id
  name       = var.token_name

  policies = [{
    effect = "allow"
    # one() fails if a name means no group or several.
    permission_groups = [
      for permission in local.token_permissions : {
        id = one([
          for group in data.cloudflare_account_api_token_permission_groups_list.all[0].result :
          group.id if group.name == permission && contains(group.scopes, "com.cloudflare.api.account")
        ])
      }
    ]
    resources = jsonencode({ "com.cloudflare.api.account.${var.account_id}" = "*" })
  }]
}

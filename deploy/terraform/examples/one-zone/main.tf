# One zone whose owner lets a monitoring service through before CrowdSec's rules.
# The provider's own token comes from CLOUDFLARE_API_TOKEN.

terraform {
  required_providers {
    cloudflare = {
      source  = "cloudflare/cloudflare"
      version = "~> 5.22"
    }
  }
}

variable "account_id" {
  type = string
}

variable "zone_id" {
  type = string
}

module "crowdsec_edge" {
  source = "../.."

  account_id = var.account_id
  zones = {
    example = {
      zone_id = var.zone_id
      rules_before = [{
        ref               = "monitoring"
        description       = "Let the monitoring through"
        expression        = "(ip.src eq 192.0.2.10)"
        action            = "skip"
        action_parameters = { ruleset = "current" }
        logging           = { enabled = true }
      }]
    }
  }
}

output "settings_env" {
  value = module.crowdsec_edge.settings_env
}

output "secret_settings_env" {
  value     = module.crowdsec_edge.secret_settings_env
  sensitive = true
}

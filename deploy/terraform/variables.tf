variable "account_id" {
  description = "The Cloudflare account: 32 hexadecimal digits."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{32}$", var.account_id))
    error_message = "account_id must be 32 hexadecimal digits."
  }
}

variable "ban_list_name" {
  description = "Name of the list of banned addresses. The WAF rule names the list by it. \"\" = no such list: with captcha_list_name \"\" too it is KV alone."
  type        = string
  default     = "crowdsec_ban"
}

variable "captcha_list_name" {
  description = "Name of the list of addresses to challenge. \"\" = no such list and no such rule: the Free plan has room for one list."
  type        = string
  default     = "crowdsec_captcha"
}

variable "kv_namespace_title" {
  description = "Title of the Workers KV namespace, such as crowdsec-edge-sync, by which setup knows it. \"\" = none."
  type        = string
  default     = ""
}

variable "zones" {
  description = <<-TEXT
    The zones that get the two WAF custom rules, under any name. A zone has ONE set of custom rules, and
    Terraform owns all of it: every other rule of the zone must be in rules_before or rules_after, or it
    is removed. The README says how to take over a zone that has rules already.
  TEXT
  type = map(object({
    zone_id = string
    # Rules that stand before ours, such as one that lets your own monitoring through.
    rules_before = optional(list(object({
      action      = string
      expression  = string
      description = optional(string)
      enabled     = optional(bool, true)
      ref         = optional(string)
      logging     = optional(object({ enabled = bool }))
      action_parameters = optional(object({
        phases   = optional(list(string))
        products = optional(list(string))
        ruleset  = optional(string)
        response = optional(object({
          content      = string
          content_type = string
          status_code  = number
        }))
      }))
    })), [])
    # Rules that stand after ours.
    rules_after = optional(list(object({
      action      = string
      expression  = string
      description = optional(string)
      enabled     = optional(bool, true)
      ref         = optional(string)
      logging     = optional(object({ enabled = bool }))
      action_parameters = optional(object({
        phases   = optional(list(string))
        products = optional(list(string))
        ruleset  = optional(string)
        response = optional(object({
          content      = string
          content_type = string
          status_code  = number
        }))
      }))
    })), [])
  }))
  default = {}
}

variable "create_token" {
  description = "Make the API token that the sync uses. false = you make it yourself; then Terraform's state holds no secret."
  type        = bool
  default     = true
}

variable "token_name" {
  description = "Name of the API token."
  type        = string
  default     = "crowdsec-edge-sync"
}

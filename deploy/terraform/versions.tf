terraform {
  # optional() with defaults, and ignore_changes on nested attributes.
  required_version = ">= 1.5"

  required_providers {
    cloudflare = {
      source = "cloudflare/cloudflare"
      # Written for the attribute syntax of version 5 (rules = [...]), and checked against the
      # documentation of 5.22.
      version = "~> 5.22"
    }
  }
}

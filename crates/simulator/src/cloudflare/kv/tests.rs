//! Stories of a client and KV, told through Cloudflare's front door.

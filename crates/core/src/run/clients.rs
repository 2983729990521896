//! The APIs that a run talks to: a client value for each, made once from the settings.

use crate::api::cloudflare::Account;
use crate::api::lapi::Lapi;
use crate::api::pushgateway::Pushgateway;
use crate::settings::Settings;

/// One client for each API.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    pub(crate) lapi: Lapi,
    pub(crate) account: Account,
    /// `None` = no metrics are pushed.
    pub(crate) pushgateway: Option<Pushgateway>,
}

impl Clients {
    pub(crate) fn new(settings: &Settings) -> Self {
        let Settings { lapi, lapi_key, cloudflare, account, token, pushgateway, .. } = settings;
        Self {
            lapi: Lapi::new(lapi.clone(), lapi_key.clone()),
            account: Account::new(cloudflare.clone(), account.clone(), token.clone()),
            pushgateway: pushgateway.clone().map(Pushgateway::new),
        }
    }
}

//! A store in Redis, laid out as Spin does it: a key is the key, without any prefix, so that this host
//! and Spin can take turns. `keys` is therefore everything in the database; who shares a Redis gives
//! each application a database of its own (`redis://host/1`).

use redis::{Client, Cmd, Connection, FromRedisValue, RedisResult, cmd};
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Redis answers in milliseconds or is down; a run has better things to do than to wait for it.
const TIME_MAX: Duration = Duration::from_secs(2);

/// A server, and the connection to it while there is one.
pub(super) struct Redis {
    client: Client,
    connection: Mutex<Option<Connection>>,
}

impl std::fmt::Debug for Redis {
    /// Only where it is: the client knows a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redis at {}", self.client.get_connection_info().addr())
    }
}

impl Redis {
    pub(super) fn new(client: Client) -> Self {
        Self { client, connection: Mutex::default() }
    }

    pub(super) fn get(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        self.ask(cmd("GET").arg(key))
    }

    pub(super) fn set(&self, key: &str, value: &[u8]) -> io::Result<()> {
        self.ask(cmd("SET").arg(key).arg(value))
    }

    pub(super) fn delete(&self, key: &str) -> io::Result<()> {
        self.ask(cmd("DEL").arg(key))
    }

    pub(super) fn exists(&self, key: &str) -> io::Result<bool> {
        self.ask(cmd("EXISTS").arg(key))
    }

    pub(super) fn keys(&self) -> io::Result<Vec<String>> {
        let mut keys: Vec<String> = self.ask(cmd("KEYS").arg("*"))?;
        keys.sort_unstable();
        Ok(keys)
    }

    /// Sends a command, on the connection that there is or on a new one. All of our commands may be
    /// sent twice.
    fn ask<T: FromRedisValue>(&self, command: &Cmd) -> io::Result<T> {
        let mut kept = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = kept.as_mut() {
            match command.query(connection) {
                // Redis was restarted, or closed a connection that idled since the last run.
                Err(error) if error.is_unrecoverable_error() => *kept = None,
                answer => return self.described(answer),
            }
        }
        let answer = self.connect().and_then(|mut connection| {
            let answer = command.query(&mut connection)?;
            *kept = Some(connection);
            Ok(answer)
        });
        self.described(answer)
    }

    fn connect(&self) -> RedisResult<Connection> {
        let connection = self.client.get_connection_with_timeout(TIME_MAX)?;
        connection.set_read_timeout(Some(TIME_MAX))?;
        connection.set_write_timeout(Some(TIME_MAX))?;
        Ok(connection)
    }

    fn described<T>(&self, answer: RedisResult<T>) -> io::Result<T> {
        answer.map_err(|error| io::Error::other(format!("{self:?}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_down_every_operation_fails_at_once_and_names_it_without_its_password() {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let url = format!("redis://:secret@127.0.0.1:{port}");
        let redis = Redis::new(Client::open(url).unwrap());
        for error in [
            redis.get("a").unwrap_err(),
            redis.set("a", b"").unwrap_err(),
            redis.delete("a").unwrap_err(),
            redis.exists("a").unwrap_err(),
            redis.keys().unwrap_err(),
        ] {
            let error = error.to_string();
            assert!(error.starts_with(&format!("Redis at 127.0.0.1:{port}: ")), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn server_silent_read_gives_up_soon() {
        // Accepts, in the kernel, and never says a word.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let begun = std::time::Instant::now();
        assert!(Redis::new(Client::open(url).unwrap()).get("a").is_err());
        assert!(begun.elapsed() < 3 * TIME_MAX, "{:?}", begun.elapsed());
    }
}

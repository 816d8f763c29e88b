//! What the tests stand on.

pub(crate) mod books;
pub(crate) mod cable;
pub(crate) mod callbacks;
pub(crate) mod chromium;
pub(crate) mod cluster;
pub(crate) mod collector;
pub(crate) mod commands;
pub(crate) mod database;
pub(crate) mod desk;
pub(crate) mod make;
pub(crate) mod plan;
pub(crate) mod process;
pub(crate) mod provider;
pub(crate) mod said;
pub(crate) mod scrape;
pub(crate) mod tailing;
pub(crate) mod tools;
pub(crate) mod wire;
pub(crate) mod world;

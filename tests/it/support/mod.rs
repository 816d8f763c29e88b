//! What the tests stand on.

pub(crate) mod callbacks;
pub(crate) mod database;
pub(crate) mod make;
pub(crate) mod world;

//! The commands that show groups and decide about them.

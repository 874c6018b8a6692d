//! The only door for people and programs: queries and commands on a running node, the shapes they
//! are answered in, and the codes they fail with. Surfaces translate and call; they decide nothing.

pub mod dto;

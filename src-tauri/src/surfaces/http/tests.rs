//! The router without a network.

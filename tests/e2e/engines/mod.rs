//! Secrets engines: what they give, to which adapters, under the least policy, and how it ends.

mod adapters;
mod real;
mod stub;

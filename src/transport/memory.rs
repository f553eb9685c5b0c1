//! An exchange without a network: records requests and answers from a script. Used by tests.

//! The cheapest monotonic counter there is: the TSC where the kernel itself trusts it, else the monotonic clock.

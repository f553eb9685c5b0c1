//! W3C Trace Context (level 2) and Baggage: parse and format, nothing else. Allocates only for returned text.

//! Protobuf wire format: varints, tags, length-delimited parts. Knows no schema.

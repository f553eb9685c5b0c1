//! How much of a span or log record is kept. Collected to the largest limit of all sinks, cut per sink by the encoder; what is cut
//! shows in the `dropped_*_count` fields. Plain data.

/// Limits of one trace sink, in OpenTelemetry's terms. Counts are per span unless the name says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanLimits {
    /// Attributes of the span.
    pub attributes: u32,
    /// Events of the span.
    pub events: u32,
    /// Links of the span.
    pub links: u32,
    /// Attributes of each event.
    pub attributes_per_event: u32,
    /// Attributes of each link.
    pub attributes_per_link: u32,
    /// Characters of a string value (also inside arrays), bytes of a bytes value; `u32::MAX` is no limit.
    pub value_length: u32,
}

impl Default for SpanLimits {
    fn default() -> Self {
        Self {
            attributes: 128,
            events: 128,
            links: 128,
            attributes_per_event: 128,
            attributes_per_link: 128,
            value_length: u32::MAX,
        }
    }
}

impl SpanLimits {
    /// The smallest limits that keep everything either would keep: what recording threads collect to.
    pub fn union(self, other: Self) -> Self {
        Self {
            attributes: self.attributes.max(other.attributes),
            events: self.events.max(other.events),
            links: self.links.max(other.links),
            attributes_per_event: self.attributes_per_event.max(other.attributes_per_event),
            attributes_per_link: self.attributes_per_link.max(other.attributes_per_link),
            value_length: self.value_length.max(other.value_length),
        }
    }
}

/// What is kept of a log record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogLimits {
    /// Attributes of the record. Default 128.
    pub attributes: u32,
    /// Characters of a string value; `u32::MAX` (default) is no limit.
    pub value_length: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { attributes: 128, value_length: u32::MAX }
    }
}

impl LogLimits {
    /// The smallest limits that keep everything either would keep.
    pub fn union(self, other: Self) -> Self {
        Self {
            attributes: self.attributes.max(other.attributes),
            value_length: self.value_length.max(other.value_length),
        }
    }
}

/// What had to change for SLS to take it, in records of one sink. Keys are cut to 128 bytes, values to 1 MiB or to what an
/// encoded record of 8 MiB leaves; the user's own limits do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FieldCounts {
    /// Keys that were reserved or a column's, and got another name.
    pub renamed_keys: u64,
    /// Keys cut.
    pub cut_keys: u64,
    /// Values cut.
    pub cut_values: u64,
    /// Attributes for which there was no room at all.
    pub omitted_fields: u64,
}

impl FieldCounts {
    /// What was added since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            renamed_keys: self.renamed_keys - before.renamed_keys,
            cut_keys: self.cut_keys - before.cut_keys,
            cut_values: self.cut_values - before.cut_values,
            omitted_fields: self.omitted_fields - before.omitted_fields,
        }
    }

    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.renamed_keys += other.renamed_keys;
        self.cut_keys += other.cut_keys;
        self.cut_values += other.cut_values;
        self.omitted_fields += other.omitted_fields;
    }
}

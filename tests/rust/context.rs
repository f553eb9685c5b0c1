//! Trace Context and Baggage. The tests of the first two modules carry the names and the inputs of the W3C's own
//! harness (w3c/trace-context, test/test.py), as far as they concern parsing.

use proptest::prelude::*;
use pytracingx::context::{
    BaggageEntry, MAX_BAGGAGE_BYTES, MAX_BAGGAGE_MEMBERS, format_baggage, format_traceparent, parse_baggage,
    parse_traceparent, parse_tracestate,
};
use pytracingx::ids::{SpanId, TraceId};

mod traceparent {
    use super::*;

    fn parse(value: &str) -> Option<String> {
        let (trace_id, span_id, flags) = parse_traceparent(value.as_bytes())?;
        Some(String::from_utf8(format_traceparent(trace_id, span_id, flags).to_vec()).unwrap())
    }

    #[track_caller]
    fn assert_restarts(values: &[&str]) {
        for value in values {
            assert_eq!(parse(value), None, "{value:?}");
        }
    }

    #[test]
    fn included() {
        let value = "00-12345678901234567890123456789012-1234567890123456-01";
        assert_eq!(parse(value).as_deref(), Some(value));
        let (trace_id, span_id, flags) = parse_traceparent(value.as_bytes()).unwrap();
        assert_eq!(
            format!("{trace_id:?} {span_id:?} {flags}"),
            format!("{} {} 1", &value[3..35], &value[36..52])
        );
    }

    /// As one value, the way some servers combine repeated headers.
    #[test]
    fn duplicated() {
        assert_restarts(&[
            "00-12345678901234567890123456789011-1234567890123456-01,00-12345678901234567890123456789012-1234567890123456-01",
            "cc-12345678901234567890123456789011-1234567890123456-01, cc-12345678901234567890123456789012-1234567890123456-01",
        ]);
    }

    #[test]
    fn version_0x00() {
        assert_restarts(&[
            "00-12345678901234567890123456789012-1234567890123456-01.",
            "00-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like",
        ]);
    }

    #[test]
    fn version_0xcc() {
        let ours = Some("00-12345678901234567890123456789012-1234567890123456-01".to_owned());
        assert_eq!(parse("cc-12345678901234567890123456789012-1234567890123456-01"), ours);
        assert_eq!(
            parse("cc-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like"),
            ours
        );
        assert_restarts(&[
            "cc-12345678901234567890123456789012-1234567890123456-01.what-the-future-will-be-like",
            "cc-12345678901234567890123456789012-1234567890123456-0",
        ]);
    }

    #[test]
    fn version_0xff() {
        assert_restarts(&["ff-12345678901234567890123456789012-1234567890123456-01"]);
    }

    #[test]
    fn version_illegal_characters_too_long_too_short() {
        assert_restarts(&[
            ".0-12345678901234567890123456789012-1234567890123456-01",
            "0.-12345678901234567890123456789012-1234567890123456-01",
            "CC-12345678901234567890123456789012-1234567890123456-01",
            "000-12345678901234567890123456789012-1234567890123456-01",
            "0000-12345678901234567890123456789012-1234567890123456-01",
            "0-12345678901234567890123456789012-1234567890123456-01",
        ]);
    }

    #[test]
    fn trace_id_all_zero_illegal_characters_too_long_too_short() {
        assert_restarts(&[
            "00-00000000000000000000000000000000-1234567890123456-01",
            "00-.2345678901234567890123456789012-1234567890123456-01",
            "00-1234567890123456789012345678901.-1234567890123456-01",
            "00-1234567890123456789012345678901A-1234567890123456-01",
            "00-123456789012345678901234567890123-1234567890123456-01",
            "00-1234567890123456789012345678901-1234567890123456-01",
        ]);
    }

    #[test]
    fn parent_id_all_zero_illegal_characters_too_long_too_short() {
        assert_restarts(&[
            "00-12345678901234567890123456789012-0000000000000000-01",
            "00-12345678901234567890123456789012-.234567890123456-01",
            "00-12345678901234567890123456789012-123456789012345.-01",
            "00-12345678901234567890123456789012-123456789012345F-01",
            "00-12345678901234567890123456789012-12345678901234567-01",
            "00-12345678901234567890123456789012-123456789012345-01",
        ]);
    }

    #[test]
    fn trace_flags_illegal_characters_too_long_too_short() {
        assert_restarts(&[
            "00-12345678901234567890123456789012-1234567890123456-.0",
            "00-12345678901234567890123456789012-1234567890123456-0.",
            "00-12345678901234567890123456789012-1234567890123456-0A",
            "00-12345678901234567890123456789012-1234567890123456-001",
            "00-12345678901234567890123456789012-1234567890123456-1",
            "00-12345678901234567890123456789012-1234567890123456-",
            "00-12345678901234567890123456789012-1234567890123456",
        ]);
    }

    #[test]
    fn ows_handling() {
        let value = "00-12345678901234567890123456789012-1234567890123456-01";
        for (before, after) in [(" ", ""), ("\t", ""), ("", " "), ("", "\t"), ("\t ", " \t")] {
            assert_eq!(parse(&format!("{before}{value}{after}")).as_deref(), Some(value));
        }
        assert_restarts(&["", " ", "\t \t", "\r00-12345678901234567890123456789012-1234567890123456-01\n"]);
    }

    #[test]
    fn other_delimiters() {
        assert_restarts(&[
            "00_12345678901234567890123456789012-1234567890123456-01",
            "00-12345678901234567890123456789012_1234567890123456-01",
            "00-12345678901234567890123456789012-1234567890123456_01",
        ]);
    }

    /// Level 2: sampled and random are propagated, in any version; what else there is, is not.
    #[test]
    fn propagates_random_flag() {
        for version in ["00", "01", "fe"] {
            for (flags, sent) in
                [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("fc", "00"), ("ff", "03")]
            {
                let value = format!("{version}-12345678901234567890123456789012-1234567890123456-{flags}");
                let expected = format!("00-12345678901234567890123456789012-1234567890123456-{sent}");
                assert_eq!(parse(&value), Some(expected), "{value}");
            }
        }
        let sent = format_traceparent(TraceId([0xab; 16]), SpanId([0xcd; 8]), 0xff);
        assert!(sent.ends_with(b"-cdcdcdcdcdcdcdcd-03"));
    }
}

mod tracestate {
    use super::*;

    #[track_caller]
    fn assert_parses(values: &[&str], expected: &str) {
        assert_eq!(parse_tracestate(values.iter().map(|value| value.as_bytes())), expected, "{values:?}");
    }

    #[test]
    fn included() {
        assert_parses(&["foo=1,bar=2"], "foo=1,bar=2");
        assert_parses(&[], "");
    }

    #[test]
    fn empty_header() {
        assert_parses(&[""], "");
        assert_parses(&["foo=1", ""], "foo=1");
        assert_parses(&["", "foo=1"], "foo=1");
    }

    #[test]
    fn multiple_headers_different_keys() {
        let combined = "foo=1,bar=2,rojo=1,congo=2,baz=3";
        assert_parses(&["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], combined);
    }

    /// Inherited; of the duplicates one stays.
    #[test]
    fn duplicated_keys() {
        assert_parses(&["foo=1,foo=1"], "foo=1");
        assert_parses(&["foo=1,foo=2"], "foo=1");
        assert_parses(&["foo=1", "foo=1"], "foo=1");
        assert_parses(&["foo=1", "bar=0,foo=2"], "foo=1,bar=0");
    }

    #[test]
    fn all_allowed_characters() {
        let key = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
        let value: String = (' '..='~').filter(|c| !",=".contains(*c)).collect();
        for key in [key.to_owned(), format!("{key}@a-z0-9_-*/"), "0".to_owned()] {
            let member = format!("{key}={value}");
            assert_parses(&[&member], &member);
        }
    }

    #[test]
    fn ows_handling() {
        for value in [
            "foo=1 \t , \t bar=2, \t baz=3",
            "foo=1\t \t,\t \tbar=2,\t \tbaz=3",
            " foo=1,bar=2,baz=3",
            "\tfoo=1,,bar=2, ,\t,baz=3",
            "foo=1,bar=2,baz=3 ",
            "foo=1,bar=2,baz=3\t",
            "\t foo=1,bar=2,baz=3 \t",
        ] {
            assert_parses(&[value], "foo=1,bar=2,baz=3");
        }
        assert_parses(&["foo=  1 2  ,bar=2"], "foo=  1 2,bar=2");
    }

    #[test]
    fn key_illegal_characters() {
        for value in
            ["foo =1", "FOO=1", "foo.bar=1", "=1", "foo", "_foo=1", "-=1", "*=1", "/=1", "f\u{f6}o=1"]
        {
            assert_parses(&[value], "");
            assert_parses(&["bar=1", value], "");
        }
    }

    #[test]
    fn key_illegal_vendor_format() {
        assert_parses(&["foo@=1,bar=2"], "foo@=1,bar=2");
        assert_parses(&["@foo=1,bar=2"], "");
        assert_parses(&["foo@@bar=1,bar=2"], "foo@@bar=1,bar=2");
        assert_parses(&["foo@bar@baz=1,bar=2"], "foo@bar@baz=1,bar=2");
    }

    #[test]
    fn member_count_limit() {
        let members = |n: usize| (1..=n).map(|i| format!("bar{i:02}={i:02}")).collect::<Vec<_>>();
        let all = members(32).join(",");
        assert_parses(&[&all], &all);
        assert_parses(&[&members(33).join(",")], "");
        let values: Vec<String> = members(32).chunks(10).map(|chunk| chunk.join(",")).collect();
        assert_parses(&values.iter().map(String::as_str).collect::<Vec<_>>(), &all);
        // Empty members count for nothing, duplicates for what they are.
        assert_parses(&[&format!(",,{all},,")], &all);
        assert_parses(&[&format!("{all},bar01=01")], "");
    }

    #[test]
    fn key_length_limit() {
        let keys = ["z".repeat(256), "t".repeat(241) + "@" + &"v".repeat(14), "t".repeat(242) + "@v"];
        for key in keys.into_iter().chain(["t@".to_owned() + &"v".repeat(15)]) {
            assert_parses(&["foo=1", &format!("{key}=1")], &format!("foo=1,{key}=1"));
        }
        assert_parses(&["foo=1", &format!("{}=1", "z".repeat(257))], "");
    }

    #[test]
    fn value_illegal_characters() {
        for value in
            ["foo=bar=baz", "foo=,bar=3", "foo= ,bar=3", "foo=\tbar", "foo=a\tb", "foo=a\rb", "foo=\u{e4}"]
        {
            assert_parses(&[value], "");
        }
        assert_eq!(parse_tracestate([&b"foo=\xff"[..]]), "");
        assert_eq!(parse_tracestate([&b"foo=\0"[..]]), "");
    }

    #[test]
    fn value_length_limit() {
        let value = |n: usize| format!("foo={}", "v".repeat(n));
        assert_parses(&[&value(256)], &value(256));
        assert_parses(&[&value(257)], "");
    }

    /// Up to 512 characters travel whole. Then members over 128 characters go first, each time the rightmost.
    #[test]
    fn total_length_limit() {
        let member = |key: &str, n: usize| format!("{key}={}", "v".repeat(n - key.len() - 1));
        let [a, b] = [member("a", 256), member("b", 255)];
        assert_parses(&[&a, &b], &format!("{a},{b}"));
        assert_parses(&[&a, &member("b", 256)], &a);
        let [large, larger] = [member("l", 129), member("m", 200)];
        let small: Vec<String> = ["c", "d", "e"].iter().map(|key| member(key, 128)).collect();
        assert_parses(&[&small[0], &large, &small[1], &larger, &small[2]], &small.join(","));
        assert_parses(&[&larger, &small[0], &large, "z=1"], &format!("{larger},{},{large},z=1", small[0]));
        let many = (0..10).map(|i| member(&i.to_string(), 60)).collect::<Vec<_>>();
        assert_parses(&[&many.join(",")], &many[..8].join(","));
    }
}

mod baggage {
    use super::*;

    fn parse(values: &[&str]) -> Vec<BaggageEntry> {
        parse_baggage(values.iter().map(|value| value.as_bytes()))
    }

    fn pairs(values: &[&str]) -> Vec<(String, String)> {
        parse(values).into_iter().map(|entry| (entry.key, entry.value)).collect()
    }

    #[track_caller]
    fn assert_pairs(values: &[&str], expected: &[(&str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        assert_eq!(pairs(values), expected, "{values:?}");
    }

    #[test]
    fn members_of_all_headers() {
        assert_pairs(&["SomeKey=SomeValue"], &[("SomeKey", "SomeValue")]);
        assert_pairs(
            &["userId =   alice", "serverNode = DF%2028, isProduction = false"],
            &[("userId", "alice"), ("serverNode", "DF 28"), ("isProduction", "false")],
        );
        assert_pairs(&["", "a=1,,b=, a=2"], &[("a", "1"), ("b", ""), ("a", "2")]);
        assert_pairs(&["k=v=equals"], &[("k", "v=equals")]);
    }

    #[test]
    fn values_are_percent_encoded() {
        assert_pairs(&["userId=Am%C3%A9lie"], &[("userId", "Am\u{e9}lie")]);
        assert_pairs(&["a=%zz%2,b=%ff"], &[("a", "%zz%2"), ("b", "\u{fffd}")]);
        assert_pairs(&["a=1+1"], &[("a", "1+1")]);
        let value = "\t \"';=asdf!@#$%^&*(),\\\u{e9}\u{7f}";
        let sent = format_baggage(&[BaggageEntry::new("k", value)]);
        assert_eq!(sent, "k=%09%20%22'%3B=asdf!@#$%25^&*()%2C%5C%C3%A9%7F");
        assert_pairs(&[&sent], &[("k", value)]);
    }

    #[test]
    fn properties_are_kept() {
        let value = "SomeKey \t = \t SomeValue \t ; \t SomeProp \t , \t k2=v2;p \t = \t a%20b;p;p=";
        let entries = parse(&[value]);
        assert_eq!((entries[0].value.as_str(), entries[1].value.as_str()), ("SomeValue", "v2"));
        assert_eq!(format_baggage(&entries), "SomeKey=SomeValue;SomeProp,k2=v2;p=a%20b;p;p=");
    }

    #[test]
    fn invalid_members_are_left_out() {
        for member in [
            "key",
            "=v",
            "k y=v",
            "k=v v",
            "k=\"v\"",
            "k=v\\",
            "k=\u{e9}",
            "k\u{e9}=v",
            "k=v;",
            "k=v;p q",
            "k=\r\n",
        ] {
            assert_pairs(&["a=1", member, "b=2"], &[("a", "1"), ("b", "2")]);
        }
        let entries = ["", "a b", "a=b", "a\r\n", "\u{e9}"].map(|key| BaggageEntry::new(key, "v"));
        assert_eq!(format_baggage(&entries), "");
    }

    #[test]
    fn limits_hold_over_all_headers() {
        let many: Vec<String> = (0..200).map(|i| format!("k{i}=v")).collect();
        let entries = parse(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(entries.len(), MAX_BAGGAGE_MEMBERS);
        let many: Vec<BaggageEntry> = (0..200).map(|i| BaggageEntry::new(format!("k{i}"), "v")).collect();
        assert_eq!(parse(&[&format_baggage(&many)]).len(), MAX_BAGGAGE_MEMBERS);

        let half = "k=".to_owned() + &"v".repeat(MAX_BAGGAGE_BYTES / 2 - 2);
        assert_eq!(parse(&[&half, &half[..half.len() - 1]]).len(), 2);
        assert_eq!(parse(&[&half, &half]).len(), 1);
        let long = BaggageEntry::new("k", "v".repeat(MAX_BAGGAGE_BYTES - 2));
        assert_eq!(format_baggage(std::slice::from_ref(&long)).len(), MAX_BAGGAGE_BYTES);
        let too_long = BaggageEntry::new("k", "v".repeat(MAX_BAGGAGE_BYTES - 1));
        assert_eq!(format_baggage(&[too_long, BaggageEntry::new("a", "1")]), "a=1");
    }
}

fn header_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(&b"0f-=,;% \t@ak"[..])];
    proptest::collection::vec(byte, 0..200)
}

proptest! {
    #[test]
    fn any_traceparent_survives(bytes in header_bytes(), valid in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?") {
        for value in [&bytes[..], valid.as_bytes()] {
            if let Some((trace_id, span_id, flags)) = parse_traceparent(value) {
                let sent = format_traceparent(trace_id, span_id, flags);
                prop_assert_eq!(parse_traceparent(&sent), Some((trace_id, span_id, flags)));
            }
        }
    }

    #[test]
    fn any_tracestate_becomes_valid(values in proptest::collection::vec(header_bytes(), 0..4)) {
        let state = parse_tracestate(values.iter().map(Vec::as_slice));
        prop_assert!(state.len() <= 512);
        prop_assert_eq!(parse_tracestate([state.as_bytes()]), state.clone());
    }

    #[test]
    fn any_baggage_becomes_valid(
        values in proptest::collection::vec(header_bytes(), 0..4),
        key in ".{0,10}",
        value in "(?s).{0,20}",
    ) {
        let mut entries = parse_baggage(values.iter().map(Vec::as_slice));
        prop_assert_eq!(parse_baggage([format_baggage(&entries).as_bytes()]), entries.clone());
        entries.push(BaggageEntry::new(key, value));
        let sent = format_baggage(&entries);
        prop_assert!(sent.bytes().all(|byte| byte.is_ascii_graphic()), "{sent:?}");
        prop_assert_eq!(format_baggage(&parse_baggage([sent.as_bytes()])), sent);
    }
}

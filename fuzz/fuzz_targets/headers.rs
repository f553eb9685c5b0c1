//! Header values out of fuzzer bytes: valid ones with a defect here and there, sizes around every limit. Random bytes never
//! come past the first rule of these grammars.

use arbitrary::{Result, Unstructured};

pub type Bytes<'a, 'b> = &'a mut Unstructured<'b>;

/// What a program received, and what it then sets.
pub struct Headers {
    pub traceparent: Vec<u8>,
    /// Values of several headers each.
    pub tracestate: Vec<Vec<u8>>,
    pub baggage: Vec<Vec<u8>>,
    /// Keys and values.
    pub set: Vec<(String, String)>,
}

pub fn headers(u: Bytes<'_, '_>) -> Result<Headers> {
    let set = (0..u.int_in_range(0..=3)?).map(|_| {
        let (key, value) = (*u.choose(&["a", "b", "key1", "no token", ""])?, value_text(u)?);
        Ok((key.to_owned(), value))
    });
    Ok(Headers {
        set: set.collect::<Result<_>>()?,
        traceparent: traceparent(u)?,
        tracestate: several(u, tracestate_member)?,
        baggage: several(u, baggage_member)?,
    })
}

/// The second of each pair is rare.
fn mostly<T>(u: Bytes<'_, '_>, usual: T, odd: &[T], one_in: u32) -> Result<T>
where
    T: Copy,
{
    // So, and not the other way round: bytes that have run out are a yes.
    if u.ratio(one_in - 1, one_in)? { Ok(usual) } else { u.choose(odd).copied() }
}

fn traceparent(u: Bytes<'_, '_>) -> Result<Vec<u8>> {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const TRACES: [&str; 5] = [
        "00000000000000000000000000000000",
        "00000000000000000000000000000001",
        "4BF92f3577b34da6a3ce929d0e0e4736",
        "4bf92f3577b34da6a3ce929d0e0e473",
        "4bf92f3577b34da6a3ce929d0e0e47360",
    ];
    const PARENTS: [&str; 4] =
        ["0000000000000000", "8000000000000000", "00f067aa0ba902bg", "00f067aa0ba902b"];
    let version = *u.choose(&["00", "00", "00", "01", "cc", "fe", "ff", "0", "0g", "FF"])?;
    let trace = mostly(u, TRACE, &TRACES, 6)?;
    let parent = mostly(u, "00f067aa0ba902b7", &PARENTS, 6)?;
    let flags = match u.ratio(1, 8)? {
        true => (*u.choose(&["0", "0x", "1F", "-1", "+1", ""])?).to_owned(),
        false => format!("{:02x}", u.arbitrary::<u8>()?),
    };
    let tail = mostly(u, "", &["-", "-what-comes-later", "later", " ", "\t", "-00", "\u{a0}"], 3)?;
    let dash = mostly(u, "-", &["_", "", "--", " -"], 20)?;
    let before = mostly(u, "", &[" ", "\t ", "\n", "\0"], 8)?;
    let mut value = format!("{before}{version}-{trace}{dash}{parent}-{flags}{tail}").into_bytes();
    if u.ratio(1, 8)? {
        let at = u.choose_index(value.len())?;
        value[at] = u.arbitrary()?;
    }
    Ok(value)
}

/// Members, spread over headers: few, or about as many as limits allow.
fn several(u: Bytes<'_, '_>, member: fn(Bytes<'_, '_>, usize) -> Result<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
    let range = u.choose(&[0..=4, 0..=4, 30..=34, 176..=184])?.clone();
    let count = u.int_in_range(range)?;
    let mut values = vec![Vec::new()];
    for number in 0..count {
        let last = values.last_mut().filter(|value| !value.is_empty());
        match last {
            Some(_) if u.ratio(1, 12)? => values.push(Vec::new()),
            Some(value) => value.push(b','),
            None => {}
        }
        let padding = [mostly(u, "", &[" ", "\t ", ","], 10)?, mostly(u, "", &[" ", " \t", ", ,"], 10)?];
        let member = member(u, number)?;
        if let Some(value) = values.last_mut() {
            value.extend([padding[0].as_bytes(), &member, padding[1].as_bytes()].concat());
        }
    }
    Ok(values)
}

/// One in many has a defect, for one is enough to end it all.
fn tracestate_member(u: Bytes<'_, '_>, number: usize) -> Result<Vec<u8>> {
    let odd = ["", "K", "k k", "k\u{e9}", "k="];
    let key = match u.int_in_range(0..=19)? {
        0 => "k".repeat(u.int_in_range(254..=257)?),
        1 => format!("0{}@x-_*/", number % 7),
        2 => "twice".to_owned(),
        _ => format!("{}{number}", mostly(u, "k", &odd, 100)?),
    };
    let len = match u.int_in_range(0..=9)? {
        0 => u.int_in_range(118..=130)?,
        1 => u.int_in_range(250..=257)?,
        _ => u.int_in_range(1..=16)?,
    };
    let filler = mostly(u, "v", &["=", "\u{1f}", "\u{7f}", "\u{e9}", ";", " v", "~"], 100)?;
    Ok(format!("{key}={}", filler.repeat(len)).into_bytes())
}

fn baggage_member(u: Bytes<'_, '_>, number: usize) -> Result<Vec<u8>> {
    let odd = ["", "k k", "k\u{e9}", "k(", "!#$%&'*+-.^_`|~"];
    let key = mostly(u, ["a", "b", "key1", "k"][number % 4], &odd, 8)?;
    let equals = mostly(u, "=", &[" =\t", "", "=="], 10)?;
    let mut member = format!("{key}{equals}{}", baggage_value(u)?).into_bytes();
    if u.ratio(1, 6)? {
        let properties = [";p", "; p = 1 ", ";p=%20", ";p=1;q", ";", ";p=\"1\"", ";p p", ";=1"];
        member.extend_from_slice(u.choose(&properties)?.as_bytes());
    }
    if u.ratio(1, 40)? {
        member.push(u.arbitrary()?);
    }
    Ok(member)
}

/// Encoded rightly and wrongly, at lengths about those that many and that few reach the limit with.
fn baggage_value(u: Bytes<'_, '_>) -> Result<String> {
    let parts = [
        "v", "%41", "%c3%A9", "%C3", "%G1", "%4", "%", "%25", "%2C", "%00", " ", "\"", "\\", "/:=?", "\u{e9}",
    ];
    let part = mostly(u, "v", &parts, 2)?;
    let times = match u.int_in_range(0..=29)? {
        0 => u.int_in_range(8_170..=8_195)? / part.len(),
        1..=4 => u.int_in_range(40..=48)?,
        _ => u.int_in_range(0..=4)?,
    };
    Ok(part.repeat(times))
}

fn value_text(u: Bytes<'_, '_>) -> Result<String> {
    let part = *u.choose(&["v", " ", "é", "😀", "%", ",", ";", "\"", "\\", "\0", "\u{7f}", "="])?;
    let len = u.choose(&[0..=3, 0..=3, 8_180..=8_195])?.clone();
    Ok(part.repeat(u.int_in_range(len)? / part.len()))
}

//! The crate's own rules, read off its source: who may use whom, where `unsafe` and atomics may live, how long a file
//! may be, and that reasons stand where they must.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module uses only modules of rows above its own. Modules of one row do not know each other.
const ROWS: &[&[&str]] = &[
    &["sync", "limits", "room"],
    &["sys"],
    &["error", "clock", "stats", "tally"],
    &["ids"],
    &["record"],
    &["context", "attrs", "intern"],
    &["lane", "config"],
    &["diagnostics", "resource", "sampler", "instruments", "observe"],
    // Samples log records by the sampler's ratio test.
    &["log_routes"],
    // Shared by the full-lane fold and the exporter.
    &["accumulate"],
    // The hot and the cold side meet in `lane` only.
    &["emit", "batch"],
    // Spans, measurements and log records of one LLM request.
    &["generation"],
    &["aggregate", "redact"],
    &["encode"],
    &["transport"],
    &["exporter"],
    // Builds what recording threads share, so it alone knows both sides.
    &["session"],
    &["python"],
];

/// The hot side; nothing but what is made of it, the session and Python names it, and it names nothing of the cold side.
const HOT: &str = "emit";

/// From here on everything is single-threaded plain data.
const PLAIN: &[&str] = &["batch", "encode", "context", "attrs", "record", "limits", "sampler", "resource"];

const SOFT_LINES: usize = 400;
const HARD_LINES: usize = 600;

struct Source {
    /// Relative to `src`.
    path: PathBuf,
    text: String,
    /// Without comments and the insides of literals, line for line.
    code: String,
}

impl Source {
    /// The name of the top module it belongs to.
    fn module(&self) -> String {
        let first = self.path.components().next().unwrap().as_os_str();
        Path::new(first).file_stem().unwrap().to_str().unwrap().to_owned()
    }

    fn is_root(&self) -> bool {
        self.path == Path::new("lib.rs")
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = without_comments_and_literals(&text);
                sources.push(Source { path: path.strip_prefix(&root).unwrap().to_owned(), text, code });
            }
        }
    }
    assert!(sources.len() > 50, "only {} files: the rules are checked on nothing", sources.len());
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// Blanks comments and what stands inside string and character literals; lines stay where they are.
fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = literal(rest, code.chars().next_back()) {
            length
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.push(' ');
        code.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        rest = &rest[skipped..];
    }
    code
}

/// The length of the string or character literal that `rest` begins with.
fn literal(rest: &str, before: Option<char>) -> Option<usize> {
    if rest.starts_with('r')
        && !before.is_some_and(|c| c.is_alphanumeric() && c != 'b' && c != 'c' || c == '_')
    {
        let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
        if rest[1 + hashes..].starts_with('"') {
            let from = 2 + hashes;
            let end = format!("\"{}", "#".repeat(hashes));
            return Some(rest[from..].find(&end).map_or(rest.len(), |at| from + at + end.len()));
        }
    }
    if rest.starts_with('"') {
        return Some(closing(rest, '"'));
    }
    // Neither lifetimes nor labels: those have no closing quote after one character.
    let mut inside = rest.strip_prefix('\'')?.chars();
    match (inside.next()?, inside.next()?) {
        ('\\', _) => Some(closing(rest, '\'')),
        (one, '\'') => Some(2 + one.len_utf8()),
        _ => None,
    }
}

fn closing(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn row_of(module: &str) -> usize {
    ROWS.iter()
        .position(|row| row.contains(&module))
        .unwrap_or_else(|| panic!("module {module} has no row: add it to ROWS, where it belongs"))
}

/// The top modules that a file names: `crate::a::…`, also inside `use crate::{a, b::c}`.
fn used(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, prefix) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            None => found.extend(identifier(rest)),
            Some(group) => found.extend(heads(group)),
        }
    }
    found
}

fn identifier(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// The first name of each member of a braced group, whose opening brace is gone.
fn heads(group: &str) -> Vec<String> {
    let mut depth = 1;
    let mut heads = Vec::from_iter(identifier(group.trim_start()));
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => heads.extend(identifier(group[at + 1..].trim_start())),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn report(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

#[test]
fn the_reader_of_source_sees_code_only() {
    let text = r##"
        //! crate::comment
        use crate::{a, b::{c, d}, e}; /* crate::block */
        let x = "crate::string \" crate::still"; let y = r#"crate::raw " "#;
        let z = ('"', '\'', b'"'); fn f<'a>(x: &'a crate::g::H) { some_crate::i(); $crate::j!() }
    "##;
    let code = without_comments_and_literals(text);
    assert_eq!(code.lines().count(), text.lines().count());
    assert_eq!(Vec::from_iter(used(&code)), ["a", "b", "e", "g"]);
}

#[test]
fn a_module_uses_only_rows_above_its_own() {
    let mut offences = Vec::new();
    let mut edges = 0;
    for source in sources().iter().filter(|source| !source.is_root()) {
        let module = source.module();
        let row = row_of(&module);
        for used in used(&source.code).into_iter().filter(|used| *used != module) {
            edges += 1;
            if row_of(&used) >= row {
                offences.push(format!("{} uses crate::{used}", source.path.display()));
            }
        }
    }
    assert!(edges > 100, "only {edges} uses found");
    report("A module uses only modules of rows above its own", &offences);
}

#[test]
fn only_session_and_python_know_the_hot_side() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| !source.is_root()) {
        let module = source.module();
        let may = [HOT, "generation", "session", "python"].contains(&module.as_str());
        if !may && used(&source.code).contains(HOT) {
            offences.push(source.path.display().to_string());
        }
    }
    report("Recording and exporting meet in `lane` only; these name `emit`", &offences);
}

#[test]
fn only_python_names_pyo3() {
    let named = |source: &Source| source.code.contains("pyo3");
    let offences = sources();
    let offences = offences.iter().filter(|source| source.module() != "python" && named(source));
    report(
        "pyo3 outside src/python",
        &offences.map(|source| source.path.display().to_string()).collect::<Vec<_>>(),
    );
}

#[test]
fn plain_data_stays_plain() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| PLAIN.contains(&source.module().as_str())) {
        for word in ["unsafe", "atomic", "Mutex", "RwLock", "thread::", "UnsafeCell", "static mut"] {
            if source.code.contains(word) {
                offences.push(format!("{}: {word}", source.path.display()));
            }
        }
    }
    report("Single-threaded plain data has no need of these", &offences);
}

/// A file above the soft limit says why it is one.
#[test]
fn files_are_short_and_say_what_they_guarantee() {
    /// One thing each, whose parts share private state.
    const LONGER: &[&str] = &[
        "python/methods.rs", // one table of methods
        "python/tracer.rs",  // one type
    ];
    let mut offences = Vec::new();
    for source in sources() {
        let path = source.path.display().to_string();
        let lines = source.text.lines().count();
        if !source.text.starts_with("//!") {
            offences.push(format!("{path} does not open with //!"));
        }
        if lines > HARD_LINES || lines > SOFT_LINES && !LONGER.contains(&path.as_str()) {
            offences.push(format!("{path} has {lines} lines"));
        }
    }
    report("Files open with what they guarantee and have few lines", &offences);
}

/// Within this many lines above: a statement, a signature or a call may stand in between.
const SAFETY_WITHIN: usize = 3;

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    let mut offences = Vec::new();
    let mut blocks = 0;
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, code) in source.code.lines().enumerate() {
            if !code.contains("unsafe {") && !code.contains("unsafe impl") {
                continue;
            }
            blocks += 1;
            // The comment may be longer than its last line: go up while there are comment lines.
            let from = at.saturating_sub(SAFETY_WITHIN);
            let mut above = (0..=at).rev().take_while(|line| *line >= from || is_comment(lines[*line]));
            if !above.any(|line| lines[line].contains("SAFETY:")) {
                offences.push(format!("{}:{}", source.path.display(), at + 1));
            }
        }
    }
    assert!(blocks > 50, "only {blocks} unsafe blocks found");
    report("unsafe without SAFETY", &offences);
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//") || line.trim_start().starts_with("#[")
}

/// The reason stands in the function, in the atomic's own description, or in the file's if it holds for all of it.
#[test]
fn every_weak_ordering_has_its_reason() {
    let mut offences = Vec::new();
    let mut orderings = 0;
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        let code: Vec<&str> = source.code.lines().collect();
        if lines.iter().take_while(|line| line.starts_with("//!")).any(|line| names_a_weak_ordering(line)) {
            continue;
        }
        for (at, line) in code.iter().enumerate() {
            if !calls_weakly(line) {
                continue;
            }
            orderings += 1;
            let function = (0..=at).rev().find(|line| is_item(code[*line])).unwrap_or(0);
            let in_function = lines[comment_above(&lines, function)..=at].iter().any(|line| is_reason(line));
            let atomic = code[..=at].iter().rev().find_map(|line| atomic_of(line)).unwrap_or_default();
            let described = (0..lines.len()).any(|line| {
                declares(code[line], atomic)
                    && lines[comment_above(&lines, line)..=line].iter().any(|line| is_reason(line))
            });
            if !in_function && !described {
                offences.push(format!("{}:{}: {}", source.path.display(), at + 1, lines[at].trim()));
            }
        }
    }
    assert!(orderings > 50, "only {orderings} orderings found");
    report("an ordering weaker than SeqCst without its reason", &offences);
}

const WEAK: [&str; 4] = ["Relaxed", "Acquire", "Release", "AcqRel"];

/// As an argument, also of an ordering that was imported by name.
fn calls_weakly(code: &str) -> bool {
    let code = code.trim_start();
    !code.starts_with("use ")
        && WEAK.iter().any(|weak| {
            [format!("Ordering::{weak}"), format!("({weak})"), format!(", {weak})")]
                .iter()
                .any(|argument| code.contains(argument))
        })
}

fn names_a_weak_ordering(text: &str) -> bool {
    WEAK.iter().any(|weak| text.to_lowercase().contains(&weak.to_lowercase()))
}

fn is_reason(line: &str) -> bool {
    line.split_once("//").is_some_and(|(_, comment)| names_a_weak_ordering(comment))
}

/// The first line of the comment that stands right above a line.
fn comment_above(lines: &[&str], line: usize) -> usize {
    (0..line).rev().take_while(|above| is_comment(lines[*above])).last().unwrap_or(line)
}

/// `name` of `self.name.load(`, `NAME[i].store(` and the like.
fn atomic_of(code: &str) -> Option<&str> {
    const CALLS: [&str; 5] = [".load(", ".store(", ".swap(", ".fetch_", ".compare_exchange"];
    let at = CALLS.iter().filter_map(|call| code.find(call)).min()?;
    let place =
        code[..at].trim_end_matches(|c| c != '[').strip_suffix('[').filter(|_| code[..at].ends_with(']'));
    let place = place.unwrap_or(&code[..at]);
    let name =
        place.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(place, |before| &place[before + 1..]);
    (!name.is_empty()).then_some(name)
}

/// A field or a static of this name.
fn declares(code: &str, name: &str) -> bool {
    let code = without_visibility(code);
    let code = code.strip_prefix("static ").unwrap_or(code);
    !name.is_empty() && code.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'))
}

fn is_item(code: &str) -> bool {
    let words = without_visibility(code).split_whitespace();
    let mut words = words.skip_while(|word| ["unsafe", "extern", "async"].contains(word));
    matches!(words.next(), Some("fn" | "static" | "const" | "impl"))
}

fn without_visibility(code: &str) -> &str {
    let code = code.trim_start();
    code.strip_prefix("pub").map_or(code, |rest| {
        let restricted = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        restricted.map_or(rest, |(_, rest)| rest).trim_start()
    })
}

/// One native thread and `poll` do it all: whatever spawns threads or tasks of its own, or makes spans of our work, stays
/// out of the host process.
#[test]
fn no_runtime_is_shipped() {
    const RUNTIMES: [&str; 12] = [
        "async-executor",
        "async-io",
        "async-std",
        "futures-executor",
        "h2",
        "hyper",
        "mio",
        "smol",
        "tokio",
        "tonic",
        "tracing",
        "tracing-core",
    ];
    let arguments = ["tree", "--offline", "--edges", "normal", "--features", "python", "--prefix", "none"];
    let tree = std::process::Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let shipped: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(["rustls", "libnghttp2-sys", "pyo3"].iter().all(|name| shipped.contains(name)), "{tree}");
    let offences: Vec<_> =
        RUNTIMES.iter().filter(|name| shipped.contains(*name)).map(|n| (*n).to_owned()).collect();
    report("an async runtime or the tracing crate among the dependencies", &offences);
}

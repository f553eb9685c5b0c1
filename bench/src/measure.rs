//! Timing and tables. Candidates of one benchmark run interleaved, round by round, so that a busy moment of the machine
//! meets all of them; the median of the rounds is what counts.

use std::time::Instant;

/// From the command line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Tiny sizes.
    pub check: bool,
    /// JSON lines instead of tables.
    pub json: bool,
}

/// One way of doing the work: its name, what does it once, and what comes before that, untimed.
pub struct Candidate<'a> {
    name: &'static str,
    prepare: Option<Box<dyn FnMut() + 'a>>,
    work: Box<dyn FnMut() + 'a>,
}

impl<'a> Candidate<'a> {
    pub fn new(name: &'static str, work: impl FnMut() + 'a) -> Self {
        Self { name, prepare: None, work: Box::new(work) }
    }

    pub fn after(prepare: impl FnMut() + 'a, name: &'static str, work: impl FnMut() + 'a) -> Self {
        Self { name, prepare: Some(Box::new(prepare)), work: Box::new(work) }
    }

    /// Nanoseconds that so many calls take.
    fn time(&mut self, calls: usize) -> u128 {
        let Some(prepare) = &mut self.prepare else {
            let started = Instant::now();
            for _ in 0..calls {
                (self.work)();
            }
            return started.elapsed().as_nanos();
        };
        let mut nanos = 0;
        for _ in 0..calls {
            prepare();
            let started = Instant::now();
            (self.work)();
            nanos += started.elapsed().as_nanos();
        }
        nanos
    }
}

/// Median nanoseconds per item of each candidate.
pub struct Report {
    unit: &'static str,
    rows: Vec<(&'static str, f64)>,
    promise: (&'static str, &'static str, f64),
}

/// Times the candidates; one call of `work` handles `items` items. `promise` names ours, the rival, and how many times
/// slower than ours the rival must be.
pub fn compare(
    unit: &'static str,
    items: usize,
    options: Options,
    mut candidates: Vec<Candidate<'_>>,
    promise: (&'static str, &'static str, f64),
) -> Report {
    let (rounds, calls) = if options.check { (3, 1) } else { (51, 40) };
    let mut nanos: Vec<Vec<f64>> = vec![Vec::with_capacity(rounds); candidates.len()];
    for round in 0..=rounds {
        for (candidate, nanos) in candidates.iter_mut().zip(&mut nanos) {
            let taken = candidate.time(calls) as f64 / (calls * items) as f64;
            // The first round warms caches and allocators up.
            if round > 0 {
                nanos.push(taken);
            }
        }
    }
    let rows = candidates.iter().zip(&mut nanos).map(|(candidate, nanos)| {
        nanos.sort_by(f64::total_cmp);
        (candidate.name, nanos[nanos.len() / 2])
    });
    Report { unit, rows: rows.collect(), promise }
}

impl Report {
    fn nanos(&self, name: &str) -> f64 {
        self.rows.iter().find(|(known, _)| *known == name).expect("a promise names candidates").1
    }

    fn ratio(&self) -> f64 {
        let (ours, rival, _) = self.promise;
        self.nanos(rival) / self.nanos(ours)
    }

    pub fn promise_met(&self) -> bool {
        self.ratio() >= self.promise.2
    }

    pub fn print(&self, benchmark: &str, options: Options) {
        let (ours, rival, required) = self.promise;
        if options.json {
            for (name, nanos) in &self.rows {
                let times = nanos / self.nanos(ours);
                println!(
                    r#"{{"benchmark":"{benchmark}","name":"{name}","ns_per_{}":{nanos:.2},"times_ours":{times:.3}}}"#,
                    self.unit
                );
            }
            return;
        }
        println!("{benchmark:<44} {:>12} {:>10}", format!("ns/{}", self.unit), "× ours");
        for (name, nanos) in &self.rows {
            println!("  {name:<42} {nanos:>12.1} {:>10.2}", nanos / self.nanos(ours));
        }
        let verdict = if self.promise_met() { "met" } else { "MISSED" };
        println!("  {rival} is {:.1} × {ours}; at least {required} × required: {verdict}\n", self.ratio());
    }
}
